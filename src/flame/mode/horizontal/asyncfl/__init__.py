"""Asynchronous horizontal roles, under the paths by which programs know them."""
