"""Coordinated asynchronous rounds: a coordinator says who may be asked by whom."""
