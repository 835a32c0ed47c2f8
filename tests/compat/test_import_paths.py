"""The names that programs written for Cisco's Flame import, and what they find there."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

PATHS = [
    ("flame.mode.distributed.trainer", "Trainer"),
    ("flame.mode.distributed.trainer", "TAG_RING_ALLREDUCE"),
    ("flame.mode.hybrid.trainer", "Trainer"),
    ("flame.mode.hybrid.trainer", "TAG_RING_ALLREDUCE"),
    ("flame.mode.hybrid.trainer", "TAG_FETCH"),
    ("flame.mode.hybrid.trainer", "TAG_UPLOAD"),
    ("flame.mode.hybrid.top_aggregator", "TopAggregator"),
    ("flame.config", "Config"),
    ("flame.dataset", "Dataset"),
    ("flame.common.util", "install_packages"),
    ("flame.common.util", "get_dataset_filename"),
    ("flame.common.util", "get_params_detached_pytorch"),
    ("flame.common.constants", "DATA_FOLDER_PATH"),
    ("flame.mode.composer", "Composer"),
    ("flame.mode.composer", "CloneComposer"),
    ("flame.mode.tasklet", "Tasklet"),
    ("flame.mode.tasklet", "Loop"),
    ("flame.mode.message", "MessageType"),
    ("flame.mode.role", "Role"),
    ("flame.channel_manager", "ChannelManager"),
    ("flame.channel", "Channel"),
    ("flame.channel", "VAL_CH_STATE_RECV"),
    ("flame.channel", "VAL_CH_STATE_SEND"),
    ("flame.channel", "KEY_CH_STATE"),
    ("flame.channel", "KEY_CH_SELECT_REQUESTER"),
    ("flame.end", "End"),
    ("flame.object_factory", "ObjectFactory"),
    ("flame.common.typing", "Scalar"),
    ("flame.common.typing", "Metrics"),
    ("flame.common.typing", "ModelWeights"),
    ("flame.common.util", "run_async"),
    ("flame.common.util", "background_thread_loop"),
    ("flame.common.custom_abcmeta", "abstract_attribute"),
    ("flame.mode.horizontal.oort.top_aggregator", "TopAggregator"),
    ("flame.mode.horizontal.oort.trainer", "Trainer"),
    ("flame.selector", "AbstractSelector"),
    ("flame.selector", "SelectorReturnType"),
    ("flame.registry.abstract", "AbstractRegistryClient"),
    ("flame.monitor.metric_collector", "MetricCollector"),
    ("flame.plugin", "Plugin"),
    ("flame.plugin", "PluginManager"),
    ("flame.plugin", "PluginType"),
    ("flame.analyzer", "AbstractAnalyzer"),
    ("flame.analyzer.dummy", "DummyAnalyzer"),
    ("flame.selectors", "selector_provider"),
    ("flame.optimizers", "optimizer_provider"),
    ("flame.datasamplers", "datasampler_provider"),
    ("flame.privacies", "privacy_provider"),
    ("flame.registries", "registry_provider"),
    ("flame.backends", "backend_provider"),
    ("flame.optimizer.abstract", "AbstractOptimizer"),
    ("flame.optimizer.regularizer.default", "Regularizer"),
    ("flame.optimizer.train_result", "TrainResult"),
    ("flame.datasampler", "AbstractDataSampler"),
    ("flame.privacy.default", "DefaultPrivacy"),
    ("flame.monitor.runtime", "time_tasklet"),
    ("flame.mode.composer", "ComposerContext"),
    ("flame.channel_manager", "custom_excepthook"),
    ("flame.config", "Groups"),
    ("flame.config", "FuncTags"),
    ("flame.config", "ChannelConfigs"),
    ("flame.config", "Broker"),
    ("flame.common.constants", "UNIX_SOCKET_PATH"),
    ("flame.backend.abstract", "AbstractBackend"),
    ("flame.mode.hybrid.trainer", "GROUP_UNIDENTIFIED"),
    ("flame.mode.hybrid.top_aggregator", "GROUP_UNIDENTIFIED"),
    ("flame.mode.horizontal.coord_asyncfl.coordinator", "CHANNEL_TOP_TO_MID_AGG"),
    ("flame.mode.horizontal.coord_asyncfl.top_aggregator", "CHANNEL_TOP_TO_MID_AGG"),
    ("flame.mode.horizontal.coord_asyncfl.middle_aggregator", "CHANNEL_MID_TO_TOP_AGG"),
    ("flame.mode.horizontal.coord_asyncfl.middle_aggregator", "CHANNEL_MID_TO_TRAINER"),
    ("flame.mode.horizontal.coord_asyncfl.trainer", "CHANNEL_TRAINER_TO_MID"),
]
ROLES = {
    "trainer": ("Trainer", {"TAG_FETCH": "fetch", "TAG_UPLOAD": "upload"}, ["fetch", "upload"]),
    "top_aggregator": (
        "TopAggregator",
        {"TAG_DISTRIBUTE": "distribute", "TAG_AGGREGATE": "aggregate"},
        ["distribute", "aggregate"],
    ),
    "middle_aggregator": (
        "MiddleAggregator",
        {
            "TAG_DISTRIBUTE": "distribute",
            "TAG_AGGREGATE": "aggregate",
            "TAG_FETCH": "fetch",
            "TAG_UPLOAD": "upload",
            "WAIT_TIME_FOR_TRAINER": 60,
        },
        ["distribute", "aggregate", "fetch", "upload"],
    ),
}
ALGORITHMS = {
    "feddyn.trainer": ("Trainer", {"TAG_UPLOAD_DATASET_SIZE": "uploadDatasetSize"}),
    "feddyn.top_aggregator": ("TopAggregator", {"TAG_GET_DATATSET_SIZE": "getDatasetSize"}),
    "scaffold.trainer": ("Trainer", {"TAG_UPLOAD_DATASET_SIZE": "uploadDatasetSize"}),
    "scaffold.top_aggregator": ("TopAggregator", {"TAG_GET_DATATSET_SIZE": "getDatasetSize"}),
    "fedgft.trainer": ("Trainer", {"TAG_FETCH_BIAS": "fetchBias", "TAG_UPLOAD_BIAS": "uploadBias"}),
    "fedgft.top_aggregator": (
        "TopAggregator",
        {"TAG_AGGREGATE_BIAS": "aggregateBias", "TAG_DISTRIBUTE_BIAS": "distributeBias"},
    ),
}
ALGORITHM_ALIASES = {
    "feddyn.trainer": "internal_init load_data init upload_dataset_size fetch train evaluate upload save_metrics",
    "feddyn.top_aggregator": "internal_init load_data initialize get_dataset_size distribute aggregate train evaluate"
    " analysis save_metrics inc_round inform_end_of_training save_params save_model",
    "scaffold.trainer": "internal_init load_data init internal_params upload_dataset_size fetch train evaluate upload"
    " save_metrics",
    "scaffold.top_aggregator": "internal_init load_data initialize get_dataset_size distribute aggregate train evaluate"
    " analysis save_metrics inc_round inform_end_of_training save_params save_model",
    "fedgft.trainer": "internal_init load_data init fetch pre_process upload_bias fetch_bias train evaluate upload"
    " save_metrics",
    "fedgft.top_aggregator": "internal_init load_data initialize distribute get_bias pre_process put_bias aggregate"
    " train evaluate analysis save_metrics inc_round inform_end_of_training save_params save_model",
}
OF_TRAINER, OF_TOP = ["config", "dataset_size", "model"], ["config", "dataset", "model"]
MUST_SET = {
    "horizontal.trainer": OF_TRAINER,
    "horizontal.top_aggregator": OF_TOP,
    "horizontal.middle_aggregator": ["config"],
    "horizontal.scaffold.trainer": ["batch_size", "config", "dataset_size", "learning_rate", "model"],
    "horizontal.oort.trainer": ["config", "dataset_size", "loss_fn", "model"],
    "horizontal.coord_syncfl.top_aggregator": OF_TOP,
    "horizontal.lifl_coord_syncfl.leaf_aggregator": ["config"],
    "distributed.trainer": OF_TRAINER,
    "hybrid.trainer": OF_TRAINER,
    "hybrid.top_aggregator": OF_TOP,
}
ALIASES = {
    "trainer": "internal_init load_data init fetch train evaluate upload save_metrics",
    "top_aggregator": "internal_init load_data initialize distribute aggregate train evaluate analysis save_metrics"
    " inc_round inform_end_of_training save_params save_model",
    "middle_aggregator": "internal_init load_data init fetch distribute aggregate upload evaluate update_round",
}
MESSAGES = """
    WEIGHTS EOT DATASET_SIZE ROUND MEMBER_DIGEST RING_WEIGHTS NEW_TRAINER IS_COMMITTER MODEL_VERSION STAT_UTILITY
    COORDINATED_ENDS DATASAMPLER_METADATA META_INFO_REQ META_INFO_RES ALPHA_ADPT REQ_COORDINATED_ENDS
    RES_COORDINATED_ENDS HYBRID_METADATA BIAS CONTROL_WEIGHTS CLIENT_WEIGHT
"""


@pytest.mark.parametrize(("module", "name"), PATHS)
def test_a_name_is_where_programs_look_for_it(module: str, name: str) -> None:
    assert hasattr(import_module(module), name)


@pytest.mark.parametrize("package", ["flame.mode.horizontal", "flame.mode.horizontal.syncfl"])
@pytest.mark.parametrize("role", ROLES)
def test_a_role_and_its_constants(package: str, role: str) -> None:
    name, constants, tags = ROLES[role]
    module = import_module(f"{package}.{role}")
    assert {key: getattr(module, key) for key in constants} == constants
    assert sorted(getattr(module, name).get_func_tags()) == sorted(tags)
    assert getattr(module, name) is getattr(import_module(f"flame.mode.horizontal.syncfl.{role}"), name)


@pytest.mark.parametrize("path", MUST_SET)
def test_statement_15_an_attribute_that_is_not_set_is_named(path: str) -> None:
    """Programs do not call the parent's constructor; what they forget is said at once."""
    name = "".join(part.title() for part in path.rpartition(".")[2].split("_"))
    base: Any = getattr(import_module(f"flame.mode.{path}"), name)

    def forgetful(*given: str) -> type:
        def constructor(self: Any) -> None:
            for name in given:
                setattr(self, name, None)

        return type("Forgetful", (base,), {"__init__": constructor})

    wanted = MUST_SET[path]
    forgetful(*wanted)()
    for missing in wanted:
        said = f"Can't instantiate abstract class Forgetful with abstract attributes: {missing}$"
        with pytest.raises(NotImplementedError, match=said):
            forgetful(*(name for name in wanted if name != missing))()
    with pytest.raises(NotImplementedError, match=", ".join(wanted)):
        forgetful()()


@pytest.mark.parametrize("role", ROLES)
def test_the_aliases_of_a_chain(role: str) -> None:
    """Programs edit a chain by the aliases of its tasklets."""
    base: Any = getattr(import_module(f"flame.mode.horizontal.{role}"), ROLES[role][0])

    class Mine(base):  # type: ignore[misc]
        def __init__(self) -> None:
            for name in MUST_SET[f"horizontal.{role}"]:
                setattr(self, name, None)

    mine = Mine()
    mine.compose()
    aliases = [tasklet.alias for tasklet in mine.composer.tasklets()]
    expected = ALIASES[role].split()
    assert [alias for alias in aliases if alias in expected] == expected


@pytest.mark.parametrize("path", ALGORITHMS)
def test_the_roles_of_an_algorithm(path: str) -> None:
    name, constants = ALGORITHMS[path]
    module = import_module(f"flame.mode.horizontal.{path}")
    assert {key: getattr(module, key) for key in constants} == constants
    base: Any = getattr(module, name)
    plain: Any = getattr(import_module(f"flame.mode.horizontal.{path.partition('.')[2]}"), name)
    assert sorted(base.get_func_tags()) == sorted([*constants.values(), *plain.get_func_tags()])
    required = [
        *MUST_SET[f"horizontal.{path.partition('.')[2]}"],
        *(["batch_size", "learning_rate"] * (path == "scaffold.trainer")),
    ]

    def constructor(self: Any) -> None:
        for attribute in required:
            setattr(self, attribute, None)

    with pytest.raises(NotImplementedError, match=", ".join(sorted(required))):
        type("Forgetful", (base,), {"__init__": lambda self: None})()
    mine = type("Mine", (base,), {"__init__": constructor})()
    mine.compose()
    aliases = [tasklet.alias for tasklet in mine.composer.tasklets()]
    assert aliases == ALGORITHM_ALIASES[path].split()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("flame.optimizers", "optimizer_provider"),
        ("flame.optimizer.fedavg", "FedAvg"),
        ("flame.optimizer.fedadam", "FedAdam"),
        ("flame.optimizer.fedyogi", "FedYogi"),
        ("flame.optimizer.fedadagrad", "FedAdaGrad"),
        ("flame.optimizer.fedbuff", "FedBuff"),
        ("flame.optimizer.fedprox", "FedProx"),
        ("flame.optimizer.feddyn", "FedDyn"),
        ("flame.optimizer.scaffold", "Scaffold"),
        ("flame.optimizer.fedgft", "FedGFT"),
        ("flame.optimizer.bias", "Bias"),
    ],
)
def test_an_optimizer_is_where_programs_look_for_it(module: str, name: str) -> None:
    assert hasattr(import_module(module), name)


def test_message_types_keep_their_numbers() -> None:
    types = import_module("flame.mode.message").MessageType
    assert [(each.name, each.value) for each in types] == [
        (name, number) for number, name in enumerate(MESSAGES.split(), 1)
    ]


def test_nothing_of_it_imports_a_framework() -> None:
    """And importing starts nothing: no thread, no child, no open socket."""
    modules = sorted({module for module, _ in PATHS} | {f"flame.mode.horizontal.{role}" for role in ROLES})
    code = (
        f"import sys, threading, {', '.join(modules)}\n"
        "print([name for name in ('torch', 'tensorflow', 'keras') if name in sys.modules], threading.active_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 1"


COORDINATED = {
    "coord_syncfl.coordinator": """
        await_mid_aggs_and_trainers pair_mid_aggs_and_trainers send_selected_middle_aggregators
        send_selected_trainers send_selected_middle_aggregator inc_round inform_end_of_training
    """,
    "coord_syncfl.top_aggregator": """
        internal_init load_data initialize get_coord_ends distribute aggregate train evaluate
        analysis save_metrics inc_round save_params save_model
    """,
    "coord_syncfl.middle_aggregator": """
        internal_init load_data init get_trainers handle_no_trainer fetch distribute aggregate
        upload evaluate update_round inform_eot
    """,
    "coord_syncfl.trainer": """
        internal_init load_data init get_aggregator fetch train evaluate upload save_metrics
    """,
    "coord_asyncfl.coordinator": """
        monitor coordinate inform_eot
    """,
    "coord_asyncfl.top_aggregator": """
        internal_init load_data initialize reset_agg_goal_vars distribute aggregate train evaluate
        analysis save_metrics inc_round inform_end_of_training save_params save_model
    """,
    "coord_asyncfl.middle_aggregator": """
        internal_init load_data init fetch reset_vars distribute aggregate upload evaluate
        update_round inform_eot
    """,
    "coord_asyncfl.trainer": """
        internal_init load_data init fetch train evaluate upload save_metrics
    """,
    "lifl_coord_syncfl.coordinator": """
        await_mid_leaf_aggs_and_trainers pair_leaf_aggs_and_trainers pair_mid_aggs_and_leaf_aggs
        send_selected_middle_aggregators send_selected_leaf_aggregators send_selected_trainers
        send_selected_leaf_aggregator inc_round inform_end_of_training
    """,
    "lifl_coord_syncfl.top_aggregator": """
        internal_init load_data initialize get_coord_ends distribute aggregate
    """,
    "lifl_coord_syncfl.middle_aggregator": """
        internal_init load_data init liveness_check get_leaf_aggs handle_no_leaf_agg fetch
        distribute aggregate upload evaluate update_round inform_eot
    """,
    "lifl_coord_syncfl.leaf_aggregator": """
        internal_init load_data init liveness_check get_trainers handle_no_trainer fetch distribute
        aggregate upload evaluate update_round inform_eot
    """,
    "lifl_coord_syncfl.trainer": """
        internal_init load_data init liveness_check get_aggregator fetch train evaluate upload
    """,
}


@pytest.mark.parametrize("path", COORDINATED)
def test_a_coordinated_role_its_tags_and_its_chain(path: str) -> None:
    module = import_module(f"flame.mode.horizontal.{path}")
    kind = path.partition(".")[2]
    base: Any = getattr(module, kind.title().replace("_", ""))
    tags = {getattr(module, name) for name in dir(module) if name.startswith("TAG_")}
    assert set(base.get_func_tags()) == tags and ("coordinate" in tags) == (kind != "coordinator")

    class Mine(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.config = self.model = self.dataset = self.dataset_size = None

    mine = Mine()
    mine.compose()
    expected = COORDINATED[path].split()
    assert [tasklet.alias for tasklet in mine.composer.tasklets() if tasklet.alias in expected] == expected


@pytest.mark.parametrize("package", ["coord_syncfl", "lifl_coord_syncfl"])
def test_a_coordinated_top_leaves_the_end_to_the_coordinator(package: str) -> None:
    base: Any = import_module(f"flame.mode.horizontal.{package}.top_aggregator").TopAggregator
    mine = base(object())
    mine.compose()
    assert "inform_end_of_training" not in [tasklet.alias for tasklet in mine.composer.tasklets()]
