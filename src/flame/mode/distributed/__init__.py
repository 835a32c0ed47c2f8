"""Trainers without an aggregator, under the path by which programs know them."""
