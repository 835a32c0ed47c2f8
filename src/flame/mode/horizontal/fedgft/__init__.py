"""The roles of FedGFT, under the paths by which programs know them."""
