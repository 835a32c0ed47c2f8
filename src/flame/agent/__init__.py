"""The agent: runs one task beside its program, and talks to nothing but the API."""
