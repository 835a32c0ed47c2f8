"""What a worker's settings are made of: small frozen records and the names that they may choose.

A `sort` is a str in any case: a member of the enumeration when it is one of upstream's names, otherwise the
name of something that is registered (see `flame.extend`), so that a plug-in is chosen like what is built in.
The workers of a role share their records: nothing in them, `kwargs` included, may be changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field as record_field
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import force_setattr

from flame.errors import ConfigError, ExtensionError
from flame.extend import BUILT_IN, names

GROUPBY_DEFAULT_GROUP = "default"
GROUP_ASSOCIATION_SEPARATOR = "/"
DEFAULT_HYPERARAMETERS_DICT: Mapping[str, int] = MappingProxyType({"rounds": 1, "epochs": 1, "batchSize": 16})


class BackendType(StrEnum):
    """Transports of upstream."""

    LOCAL = "local"
    P2P = "p2p"
    MQTT = "mqtt"
    SHM = "shm"


class RegistryType(StrEnum):
    """Places where models and metrics are kept."""

    DUMMY = "dummy"
    LOCAL = "local"
    MLFLOW = "mlflow"


class OptimizerType(StrEnum):
    """Ways of making one step of many updates."""

    FEDAVG = "fedavg"
    FEDADAGRAD = "fedadagrad"
    FEDADAM = "fedadam"
    FEDYOGI = "fedyogi"
    FEDBUFF = "fedbuff"
    FEDPROX = "fedprox"
    FEDDYN = "feddyn"
    SCAFFOLD = "scaffold"
    FEDGFT = "fedgft"


class SelectorType(StrEnum):
    """Ways of choosing whom to ask."""

    DEFAULT = "default"
    RANDOM = "random"
    FEDBUFF = "fedbuff"
    OORT = "oort"


class GateType(StrEnum):
    """Ways of deciding when a round's answers are enough."""

    EVERYONE = "everyone"


class DataSamplerType(StrEnum):
    """Ways of choosing the samples to train on."""

    DEFAULT = "default"
    FEDBALANCER = "fedbalancer"


class PrivacyType(StrEnum):
    """Ways of protecting an update."""

    DEFAULT = "default"
    DP = "dp"


def known_sort(kind: str, known: type[StrEnum], sort: str) -> str:
    """The enumeration's member of that name, or the name itself if it is registered.

    Raises:
        ExtensionError: it is neither; the message lists what there is.
    """
    if sort in known.__members__.values():
        return known(sort)
    # Asking for every plug-in reads the metadata of all that is installed, so what is built in is asked first.
    if (kind, sort) in BUILT_IN or sort in (registered := names(kind)):
        return sort
    there = sorted({*map(str, known), *registered})
    raise ExtensionError(kind, sort, there)


class Job(Struct, frozen=True, rename={"job_id": "id"}):
    """The job that a worker works for: workers of different jobs never meet."""

    job_id: str
    name: str = ""


class BaseModel(Struct, frozen=True):
    """The registered model to begin with: one is loaded only if it has a name and a version above 0."""

    name: str = ""
    version: int = 0


class Broker(Struct, frozen=True):
    """Where the brokers are: `sort_to_host` maps a backend's sort to its host."""

    sort_to_host: Mapping[str, str] = MappingProxyType({})


class Registry(Struct, frozen=True):
    """Where models and metrics are kept: the kind of registry and its address."""

    sort: str = RegistryType.DUMMY
    uri: str = ""

    def __post_init__(self) -> None:
        force_setattr(self, "sort", known_sort("registry", RegistryType, self.sort))


class Selector(Struct, frozen=True):
    """Who is asked. `kwargs` go to the selector as they are."""

    sort: str = SelectorType.DEFAULT
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        force_setattr(self, "sort", known_sort("selector", SelectorType, self.sort))


class Optimizer(Struct, frozen=True):
    """How updates become a step. `kwargs` go to the optimizer as they are."""

    sort: str = OptimizerType.FEDAVG
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        force_setattr(self, "sort", known_sort("optimizer", OptimizerType, self.sort))


class Gate(Struct, frozen=True):
    """When a round's answers are enough, and what follows when a peer goes. `kwargs` go to the gate as they are."""

    sort: str = GateType.EVERYONE
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        force_setattr(self, "sort", known_sort("gate", GateType, self.sort))


class Privacy(Struct, frozen=True):
    """How an update is protected. `kwargs` go to the filter as they are."""

    sort: str = PrivacyType.DEFAULT
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        force_setattr(self, "sort", known_sort("privacy", PrivacyType, self.sort))


class DataSampler(Struct, frozen=True):
    """Which samples are trained on. `kwargs` go to the sampler as they are."""

    sort: str = DataSamplerType.DEFAULT
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        force_setattr(self, "sort", known_sort("datasampler", DataSamplerType, self.sort))

    def fed(self, hyperparameters: Hyperparameters) -> DataSampler:
        """With the hyperparameters among its arguments, under their JSON names; its own come first.

        The default sampler takes no arguments and is given none.
        """
        if self.sort == DataSamplerType.DEFAULT:
            return self
        return DataSampler(self.sort, {**hyperparameters.to_dict(), **self.kwargs})


class Network(Struct, frozen=True, rename="camel"):
    """How a worker that talks over a network is reached, knows its peers, and loses patience.

    Attributes:
        listen: where it can be called, as host:port; "" for a free port where the rendezvous is reached from.
        ca: the certificate of the authority that its peers' certificates are of; "" for no TLS.
        cert: its own certificate.
        key: its own private key.
        token_file: a file that only the job's workers have; "" for none.
        silence: seconds after which a peer of which nothing is heard counts as gone.
        patience: seconds after which a broker that does not answer is an error.
    """

    listen: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    token_file: str = ""
    silence: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    patience: Annotated[float, msgspec.Meta(gt=0)] = 60.0

    @property
    def files(self) -> tuple[str, str, str]:
        """The three files of TLS."""
        return self.ca, self.cert, self.key


class Checkpointing(Struct, frozen=True):
    """Where an aggregator that runs alone keeps checkpoints, and goes on from them when it is started again.

    Attributes:
        dir: a folder of its own; "" for no checkpoints.
        every: after how many rounds one is made; there is one after the last round, too.
    """

    dir: str = ""
    every: Annotated[int, msgspec.Meta(ge=1)] = 1


class _Known(Struct, rename="camel"):
    """The hyperparameters whose type is known."""

    rounds: int = 1
    epochs: int = 1
    batch_size: int | None = 16
    learning_rate: float | None = None
    weight_decay: float | None = None
    aggregation_goal: int | None = field(default=None, name="aggGoal")
    concurrency: int | None = None
    min_peers: Annotated[int, msgspec.Meta(ge=1)] | None = None
    simulated_time: dict[str, Any] | None = None


#: The JSON name of each known hyperparameter.
JSON_NAMES: Mapping[str, str] = dict(zip(_Known.__struct_fields__, _Known.__struct_encode_fields__, strict=True))


class Hyperparameters:
    """Numbers that role code reads: `config.hyperparameters.rounds`.

    Nine are known: `rounds`, `epochs`, `batch_size`, `learning_rate`, `weight_decay`, `aggregation_goal`,
    `concurrency`, `min_peers`, how many peers an aggregator waits for before its first round, and `simulated_time`,
    how long a trainer's work would take (see `flame.engine.simulated`). They may be given under their JSON names
    (`batchSize`, …, `aggGoal`) or their own, which win; a numeric string becomes a number. All else is kept as it is,
    as an attribute of the same name.

    Raises:
        ConfigError: a known one is not a number, or one has the name of a method.
    """

    rounds: int
    epochs: int
    batch_size: int
    learning_rate: float | None
    weight_decay: float | None
    aggregation_goal: int | None
    concurrency: int | None
    min_peers: int | None
    simulated_time: dict[str, Any] | None

    def __init__(self, /, **values: Any) -> None:
        if taken := [name for name in ("dict", "to_dict") if name in values]:
            raise ConfigError(f"hyperparameters.{taken[0]}", "is the name of something else", "choose another name")
        known = {name: values.pop(name) for name in JSON_NAMES.values() if name in values}
        known |= {json: values.pop(own) for own, json in JSON_NAMES.items() if own in values}
        try:
            record = msgspec.convert(known, _Known, strict=False)
        except msgspec.ValidationError as error:
            reason, _, path = str(error).partition(" - at `$.")
            reason = reason[0].lower() + reason[1:]
            raise ConfigError(f"hyperparameters.{path.rstrip('`')}", reason) from None
        except UnicodeEncodeError as error:
            raise ConfigError("hyperparameters", f"holds a value that cannot be read: {error}") from None
        self.__dict__.update({own: getattr(record, own) for own in JSON_NAMES}, **values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no hyperparameter {name!r}; there are: {', '.join(self.__dict__)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise dataclasses.FrozenInstanceError(
            f"hyperparameters are shared by all workers of a role: cannot assign {name!r}"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hyperparameters) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        raise TypeError("hyperparameters cannot be hashed")

    def __repr__(self) -> str:
        return f"Hyperparameters({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    def dict(self) -> dict[str, Any]:
        """All of them, under their attribute names."""
        return dict(self.__dict__)

    def to_dict(self) -> Mapping[str, Any]:
        """All of them that have a value, under their JSON names."""
        rows = {JSON_NAMES.get(name, name): value for name, value in self.__dict__.items()}
        return {name: value for name, value in rows.items() if value is not None}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What a job trains, and how: modelSpec.json."""

    base_model: BaseModel = record_field(default_factory=BaseModel)
    hyperparameters: Hyperparameters = record_field(default_factory=Hyperparameters)
    dependencies: tuple[str, ...] = ()
    selector: Selector = record_field(default_factory=Selector)
    optimizer: Optimizer = record_field(default_factory=Optimizer)
    gate: Gate = record_field(default_factory=Gate)
    privacy: Privacy = record_field(default_factory=Privacy)
    datasampler: DataSampler = record_field(default_factory=DataSampler)
    registry: Registry = record_field(default_factory=Registry)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What is to be done: job.json with its modelSpec.

    Attributes:
        id: 24 hex digits; made from the name when the file has none.
        name: for people.
        backend: the transport of every channel that names none.
        max_run_time: seconds after which the job is ended; 0 for never.
        brokers: the host of each sort of broker.
        seed: from which every worker's random streams are derived.
        model: the settings that every worker gets.
        experiments: the settings of a federation's workers instead, by a group of it.
    """

    id: str
    name: str
    design_id: str = ""
    user_id: str = ""
    priority: str = "low"
    backend: str = "inproc"
    max_run_time: int = 0
    brokers: Mapping[str, str] = record_field(default_factory=dict)
    seed: int = 0
    model: ModelSpec = record_field(default_factory=ModelSpec)
    experiments: Mapping[str, ModelSpec] = record_field(default_factory=dict)
