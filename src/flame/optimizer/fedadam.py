"""The path under which programs know FedAdam."""

from flame.optimizer.fedopt import FedAdam

__all__ = ["FedAdam"]
