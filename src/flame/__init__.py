"""Flame."""
