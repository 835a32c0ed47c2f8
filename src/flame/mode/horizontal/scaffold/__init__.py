"""The roles of SCAFFOLD, under the paths by which programs know them."""
