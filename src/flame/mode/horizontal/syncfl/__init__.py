"""Synchronous rounds: the paths under which programs know the roles."""
