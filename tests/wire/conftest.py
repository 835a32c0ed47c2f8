"""Being here, it lets the tests in `attacks/` import what lies beside it."""
