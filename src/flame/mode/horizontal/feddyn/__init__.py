"""The roles of FedDyn, under the paths by which programs know them."""
