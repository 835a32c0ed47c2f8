"""Flame's benchmarks: whole commands, each beside the same work in plain PyTorch, in the same run."""
