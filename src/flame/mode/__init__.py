"""Workflows (`composer`, `tasklet`), the roles that run them, and the doors under which programs import them."""
