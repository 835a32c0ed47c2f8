"""One table of everything that a name in a config may choose.

A built-in and a plug-in are found in the same way: a `(kind, name)` leads to a factory. What a program has registered
itself comes first (`register`), then the built-in names of the table below, then entry points of the group
`flame.<kind>`. A module is imported when its name is first asked for, so that a federation which does not use an extra
does not need it installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flame.errors import ExtensionError

BUILT_IN: dict[tuple[str, str], str] = {
    ("backend", "inproc"): "flame.channel.transports:inproc",
    ("backend", "shm"): "flame.channel.transports:shm",
    ("backend", "p2p"): "flame.channel.transports:p2p",
    ("backend", "mqtt"): "flame.channel.transports:mqtt",
    ("selector", "default"): "flame.selector.default:Default",
    ("selector", "oort"): "flame.selector.oort:Oort",
    ("selector", "power-of-choice"): "flame.selector.power_of_choice:PowerOfChoice",
    ("selector", "fedbuff"): "flame.selector.fedbuff:FedBuff",
    ("selector", "poisson"): "flame.selector.poisson:Poisson",
    ("selector", "random"): "flame.selector.random:Random",
    ("optimizer", "fedavg"): "flame.optimizer.fedavg:FedAvg",
    ("optimizer", "fedbuff"): "flame.optimizer.fedbuff:FedBuff",
    ("optimizer", "fedadam"): "flame.optimizer.fedopt:FedAdam",
    ("optimizer", "fedyogi"): "flame.optimizer.fedopt:FedYogi",
    ("optimizer", "fedadagrad"): "flame.optimizer.fedopt:FedAdaGrad",
    ("optimizer", "fedprox"): "flame.optimizer.fedprox:FedProx",
    ("optimizer", "fedavgm"): "flame.optimizer.fedavgm:FedAvgM",
    ("optimizer", "fednova"): "flame.optimizer.fednova:FedNova",
    ("optimizer", "qfedavg"): "flame.optimizer.qfedavg:QFedAvg",
    ("optimizer", "scaffold"): "flame.optimizer.scaffold:Scaffold",
    ("optimizer", "feddyn"): "flame.optimizer.feddyn:FedDyn",
    ("optimizer", "fedgft"): "flame.optimizer.fedgft:FedGFT",
    ("optimizer", "fedper"): "flame.optimizer.fedper:FedPer",
    ("optimizer", "fedbn"): "flame.optimizer.fedbn:FedBN",
    ("optimizer", "ditto"): "flame.optimizer.ditto:Ditto",
    ("optimizer", "xgb_bagging"): "flame.optimizer.xgb_bagging:XgbBagging",
    ("gate", "everyone"): "flame.engine.gate:Everyone",
    ("gate", "goal"): "flame.engine.gate:Goal",
    ("gate", "first"): "flame.engine.gate:First",
    ("gate", "within"): "flame.engine.gate:Within",
    ("compression", "fp16"): "flame.compression.fp16:Half",
    ("compression", "int8"): "flame.compression.int8:Int8",
    ("compression", "topk"): "flame.compression.topk:TopK",
    ("privacy", "default"): "flame.privacy.default:Default",
    ("privacy", "dp"): "flame.privacy.dp:dp",
    ("privacy", "dpsgd"): "flame.privacy.dpsgd:DPSGD",
    ("datasampler", "default"): "flame.datasampler.default:Default",
    ("datasampler", "fedbalancer"): "flame.datasampler.fedbalancer:FedBalancer",
    ("deployer", "process"): "flame.deploy.process:Processes",
    ("registry", "dummy"): "flame.registry.dummy:DummyRegistry",
    ("registry", "local"): "flame.registry.local:LocalRegistry",
    ("registry", "mlflow"): "flame.registry.mlflow:MlflowRegistry",
}

_registered: dict[tuple[str, str], Any] = {}


def register(kind: str, name: str, factory: Any) -> None:
    """Let a name lead to a factory, in this process and in those that are forked from it.

    A package that others install names its factories as entry points instead: whoever reads a job's files then knows
    them too, before any program has run.
    """
    _registered[kind, str(name)] = factory


def names(kind: str) -> list[str]:
    """Every name that `lookup` knows for a kind, sorted."""
    built_in = {name for (room, name) in (*BUILT_IN, *_registered) if room == kind}
    return sorted(built_in | {point.name for point in _plugged_in(kind)})


def lookup(kind: str, name: str) -> Any:
    """The factory behind a name.

    Raises:
        ExtensionError: nobody registered that name; it lists the ones that there are.
    """
    if (kind, name) in _registered:
        return _registered[kind, name]
    target = BUILT_IN.get((kind, name))
    if target is not None:
        module, _, attribute = target.partition(":")
        return getattr(import_module(module), attribute)
    for point in _plugged_in(kind):
        if point.name == name:
            return point.load()
    raise ExtensionError(kind, name, names(kind))


def _plugged_in(kind: str) -> Any:
    # Only who uses plug-ins needs the library that finds them: it is a tenth of what a small worker loads.
    from importlib.metadata import entry_points

    return entry_points(group=f"flame.{kind}")
