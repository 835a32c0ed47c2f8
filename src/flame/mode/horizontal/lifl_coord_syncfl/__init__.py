"""Coordinated synchronous rounds in four tiers, with leaf aggregators."""
