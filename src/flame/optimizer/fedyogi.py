"""The path under which programs know FedYogi."""

from flame.optimizer.fedopt import FedYogi

__all__ = ["FedYogi"]
