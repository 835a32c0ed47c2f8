"""The roles that aggregate asynchronously: whoever is idle is asked, and a round ends with its goal.

J. Nguyen et al.: Federated Learning with Buffered Asynchronous Aggregation (FedBuff). AISTATS 2022.
"""

from __future__ import annotations

from flame.config import Config
from flame.config import Gate as ConfiguredGate
from flame.engine.arrivals import arrivals_of
from flame.engine.gate import Gate, Goal
from flame.engine.leading import Leading
from flame.engine.parts import gate_of, optimizer_of
from flame.engine.simulated import clock_of
from flame.engine.streaming import Streaming
from flame.errors import RecipeError
from flame.mode import aggregating
from flame.mode.aggregating import TAG_AGGREGATE, TAG_DISTRIBUTE
from flame.mode.role import Role, quiet
from flame.mode.tasklet import Loop, Tasklet
from flame.optimizer import Optimizer


class _Asynchronous(Role):
    """What the top and those in between have in common."""

    _algorithm: Optimizer
    _gate: Gate
    _leading: Leading

    @classmethod
    def _closes(cls, config: Config) -> Gate:
        if optimizer_of(config).synchronous:
            raise RecipeError(
                f"optimizer.sort: {config.optimizer.sort} is synchronous: its halves have to agree on the round,"
                " or its `do` takes all updates at once, without a `scale_add_agg_weights`"
            )
        return _goal_of(config)

    def _leads(self) -> Leading:
        around, patience_s = self._surroundings, self.config.network.patience
        clock = clock_of(self.config)
        arrivals = arrivals_of(clock, around.fiber)
        return Streaming(self._algorithm, around.memory, self._gate, patience_s, clock, arrivals=arrivals)

    def _begin(self) -> None:
        self._leading.begin()


class TopAggregator(_Asynchronous, aggregating.TopAggregator):
    """The worker that leads a federation, and takes a step for every `hyperparameters.aggGoal` updates."""

    def _answers(self) -> Tasklet:
        loop = Loop(loop_check_fn=lambda: self._leading.met)
        return quiet("reset_agg_goal_vars", self._begin) >> loop(
            quiet("distribute", self.put, TAG_DISTRIBUTE) >> quiet("aggregate", self.get, TAG_AGGREGATE)
        )


class MiddleAggregator(_Asynchronous, aggregating.MiddleAggregator):
    """A worker that leads a group, and answers for `hyperparameters.aggGoal` updates of it to the one above."""

    waits = False

    def _answers(self) -> Tasklet:
        loop = Loop(loop_check_fn=lambda: self._leading.met or self.trainer_no_show or self._work_done)
        return quiet("reset_vars", self._begin) >> loop(
            quiet("distribute", self.put, TAG_DISTRIBUTE) >> quiet("aggregate", self.get, TAG_AGGREGATE)
        )

    def _nobody_came(self) -> None:
        """What is uploaded next says so."""

    def _send_weights(self, tag: str) -> None:
        if self.trainer_no_show and not self._leading.round.folded:
            self._send_dummy_weights(tag)
        else:
            super()._send_weights(tag)


def _goal_of(config: Config) -> Gate:
    """The gate of an asynchronous aggregator: the config's, or the number of updates that its hyperparameters name.

    Raises:
        RecipeError: the config's gate waits for everyone.
    """
    if config.gate != ConfiguredGate():
        if str(config.gate.sort) in ("everyone", "first", "within"):
            raise RecipeError(
                f"gate.sort: an asynchronous aggregator waits for no {config.gate.sort}; its gate is goal"
            )
        return gate_of(config)
    return Goal(k=config.hyperparameters.aggregation_goal or 1)
