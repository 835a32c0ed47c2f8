"""The path under which programs know the counters of a worker."""

from flame.monitor.metrics import Metrics as MetricCollector

__all__ = ["MetricCollector"]
