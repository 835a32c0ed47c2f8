"""The path under which programs know FedAdaGrad."""

from flame.optimizer.fedopt import FedAdaGrad

__all__ = ["FedAdaGrad"]
