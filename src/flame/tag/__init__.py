"""The TAG: a federation as a graph of roles and channels. Pure: no clock, no socket, no thread.

`read` takes a file, `build` a few lines of Python, `template` a name; `check` lists every broken invariant,
`expand` gives one row per worker, `draw` a picture, `diff` the way from one TAG to another.
"""

from flame.tag.build import Builder, build
from flame.tag.check import check, read
from flame.tag.dataspec import read_data
from flame.tag.diff import Change, Difference, diff
from flame.tag.draw import draw
from flame.tag.expand import WorkerSpec, expand
from flame.tag.finding import Finding
from flame.tag.invariants import BACKENDS, Data
from flame.tag.protocol import Action
from flame.tag.schema import DEFAULT_GROUP, Channel, Compression, Connector, GroupBy, Role, Tag, dumps, json_schema
from flame.tag.templates import template, templates

__all__ = [
    "BACKENDS",
    "DEFAULT_GROUP",
    "Action",
    "Builder",
    "Change",
    "Channel",
    "Compression",
    "Connector",
    "Data",
    "Difference",
    "Finding",
    "GroupBy",
    "Role",
    "Tag",
    "WorkerSpec",
    "build",
    "check",
    "diff",
    "draw",
    "dumps",
    "expand",
    "json_schema",
    "read",
    "read_data",
    "template",
    "templates",
]
