"""Horizontal federated learning: everybody has the same features of different samples."""
