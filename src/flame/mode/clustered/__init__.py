"""Clustered federations: several models, and every trainer works on the one that fits its data best."""
