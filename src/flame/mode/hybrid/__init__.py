"""Rings below an aggregator, under the paths by which programs know them."""
