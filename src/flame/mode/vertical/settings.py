"""What a config may say about a model that is split, and what it may not."""

from __future__ import annotations

from flame.config import Config
from flame.engine.gate import Everyone, Gate
from flame.errors import RecipeError


def check_split(config: Config) -> None:
    """Refuse what would not be acted on, or would spoil the gradients.

    Raises:
        RecipeError: no batch size, an optimizer, a selector, a sampler or a privacy mechanism other than the plain
            one, or a compression that leaves numbers out.
    """
    if (config.hyperparameters.batch_size or 0) < 1:
        raise RecipeError(f"hyperparameters.batchSize is {config.hyperparameters.batch_size}: it is at least 1")
    optimizer, selector = str(config.optimizer.sort), str(config.selector.sort)
    if optimizer != "fedavg":
        raise RecipeError(
            f"optimizer.sort: {optimizer} steps in the mean of models, and here nothing is averaged:"
            " each party's own program makes its steps"
        )
    if str(config.privacy.sort) != "default":
        raise RecipeError(f"privacy.sort: {config.privacy.sort} protects updates, and here embeddings are sent")
    if selector != "default":
        raise RecipeError(f"selector.sort: {selector} leaves holders out, and a batch needs the columns of all")
    for setting, chosen in (("privacy", config.privacy.sort), ("datasampler", config.datasampler.sort)):
        if str(chosen) != "default":
            raise RecipeError(f"{setting}.sort: {chosen} is for updates of whole models; a split one sends embeddings")
    for name, channel in config.channels.items():
        if channel.compression is not None and str(channel.compression.sort) == "topk":
            reason = "topk leaves numbers of an embedding out; take fp16 or int8"
            raise RecipeError(f"channels.{name}.compression: {reason}")


def split_gate(config: Config) -> Gate:
    """What follows when a holder goes: the run stops, or waits for it. A batch without its columns makes no sense.

    Raises:
        RecipeError: the gate lets rounds go on without somebody.
    """
    kwargs = {key: value for key, value in config.gate.kwargs.items() if key != "//"}
    if str(config.gate.sort) != "everyone" or kwargs.get("whenLost") == "continue":
        raise RecipeError("gate: a batch needs the columns of all holders: its whenLost is stop or wait")
    if kwargs.get("atLeast"):
        raise RecipeError("gate.kwargs.atLeast: all holders have to be there; how many is said by minPeers")
    return Everyone(**{"whenLost": "stop", **kwargs})


def salt_of(config: Config) -> str:
    """What the digests of ids are keyed with: `hyperparameters.idSalt`, else the job's id."""
    return str(config.hyperparameters.to_dict().get("idSalt") or config.job.job_id)
