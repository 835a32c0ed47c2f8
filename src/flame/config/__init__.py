"""Settings: a worker's config, a job's folder, and the records that both are made of.

`Config` is what a worker reads; `flame.config.job.read_job` reads what a user wrote, and
`flame.config.build.configs` makes the one from the other.
"""

from flame.config.read import load_json
from flame.config.records import (
    DEFAULT_HYPERARAMETERS_DICT,
    GROUP_ASSOCIATION_SEPARATOR,
    GROUPBY_DEFAULT_GROUP,
    BackendType,
    BaseModel,
    Broker,
    DataSampler,
    DataSamplerType,
    Gate,
    GateType,
    Hyperparameters,
    Job,
    JobSpec,
    ModelSpec,
    Optimizer,
    OptimizerType,
    Privacy,
    PrivacyType,
    Registry,
    RegistryType,
    Selector,
    SelectorType,
)
from flame.config.upstream import (
    ChannelConfigs,
    FuncTags,
    Groups,
    transform_brokers,
    transform_channel,
    transform_channels,
    transform_config,
    transform_hyperparameters,
)
from flame.config.worker import Config, read_config
from flame.tag import Channel, GroupBy

__all__ = [
    "DEFAULT_HYPERARAMETERS_DICT",
    "GROUPBY_DEFAULT_GROUP",
    "GROUP_ASSOCIATION_SEPARATOR",
    "BackendType",
    "BaseModel",
    "Broker",
    "Channel",
    "ChannelConfigs",
    "Config",
    "DataSampler",
    "DataSamplerType",
    "FuncTags",
    "Gate",
    "GateType",
    "GroupBy",
    "Groups",
    "Hyperparameters",
    "Job",
    "JobSpec",
    "ModelSpec",
    "Optimizer",
    "OptimizerType",
    "Privacy",
    "PrivacyType",
    "Registry",
    "RegistryType",
    "Selector",
    "SelectorType",
    "load_json",
    "read_config",
    "transform_brokers",
    "transform_channel",
    "transform_channels",
    "transform_config",
    "transform_hyperparameters",
]
