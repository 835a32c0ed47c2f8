"""What every room may use: fibers, constants, and the helpers that programs import."""
