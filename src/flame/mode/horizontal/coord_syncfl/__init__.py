"""Coordinated synchronous rounds: a coordinator decides in each who works with whom."""
