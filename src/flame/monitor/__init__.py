"""What a worker measures about itself.

- `metrics`: the numbers that a role owns as `mc`.
- `system`: processor and memory of this process, for whoever starts it.
"""
