"""A model as one flat buffer: what it holds (`Layout`) and the bytes themselves (`Weights`).

`layout` knows names, dtypes and offsets; `adapters` moves a model in and out; `safetensors` keeps it in a
file.
"""

from flame.weights.layout import Allocate, Entry, Layout, Segment, Weights, plain_memory

__all__ = ["Allocate", "Entry", "Layout", "Segment", "Weights", "plain_memory"]
