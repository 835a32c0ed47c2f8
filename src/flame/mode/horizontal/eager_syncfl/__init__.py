"""Eager roles, which are the synchronous ones: a mean can be folded as updates come, and comes out the same."""
