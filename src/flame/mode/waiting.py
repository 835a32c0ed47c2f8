"""How a synchronous aggregator waits: for whom, and until when."""

from __future__ import annotations

from flame.channel.surroundings import Surroundings
from flame.config import Config
from flame.config import Gate as ConfiguredGate
from flame.engine.arrivals import arrivals_of
from flame.engine.gate import First, Gate, Within
from flame.engine.leading import Leading
from flame.engine.parts import gate_of
from flame.engine.racing import Racing
from flame.engine.simulated import clock_of
from flame.errors import RecipeError
from flame.optimizer import Optimizer
from flame.selector.oort import needed


def waiting_gate_of(config: Config) -> Gate:
    """The gate of a synchronous aggregator.

    Raises:
        RecipeError: the config's gate does not wait: in every round only those who are asked first would count.
    """
    if str(config.gate.sort) == "goal":
        raise RecipeError("gate.sort: goal is for asynchronous aggregators; a synchronous one's gate is everyone")
    if str(config.selector.sort) == "oort" and config.gate == ConfiguredGate():
        return First(k=needed(config.selector.kwargs.get("aggr_num")))  # more are asked than it needs
    return gate_of(config)


def leading_of(config: Config, optimizer: Optimizer, gate: Gate, around: Surroundings) -> Leading:
    """What carries out the rounds of a synchronous aggregator.

    Raises:
        RecipeError: its gate looks at the clock, in a host, where everybody takes equally long.
    """
    clock, patience_s = clock_of(config), config.network.patience
    if not isinstance(gate, First | Within):
        return Leading(optimizer, around.memory, gate, patience_s, clock)
    if isinstance(gate, Within) and clock is None and around.fiber is not None:
        raise RecipeError("gate.sort: in flame run, within needs hyperparameters.simulatedTime: nobody is late without")
    arrivals = arrivals_of(clock, around.fiber)
    return Racing(optimizer, around.memory, gate, patience_s, clock, arrivals=arrivals)


def enough(gate: Gate, config: Config, *, begun: bool) -> int:
    """How many peers have to be there before a round is opened."""
    return max(1, gate.at_least, 0 if begun else config.hyperparameters.min_peers or 0)
