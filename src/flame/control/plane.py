"""The control plane as one thing: everything over one store."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from flame.control.computes import Computes
from flame.control.datasets import Datasets
from flame.control.designs import Designs
from flame.control.jobs import Jobs
from flame.control.store import Store
from flame.control.tasks import Tasks
from flame.control.times import Clock, now


class Control:
    """Designs, datasets, computes, jobs and tasks.

    Args:
        store: where all is kept.
        brokers: for each sort of backend where its workers meet.
        computes: the computes whose deployer is in this process, and the region of each.
        clock: tells the time.

    Attributes:
        changed: set when a job may need attention.
    """

    def __init__(
        self, store: Store, brokers: Mapping[str, str], computes: Mapping[str, str], clock: Clock = now
    ) -> None:
        self.changed = threading.Event()
        self.designs = Designs(store)
        self.datasets = Datasets(store)
        self.computes = Computes(store, clock)
        self.jobs = Jobs(store, clock, brokers, computes, self.changed.set)
        self.tasks = Tasks(store, clock, self.jobs, self.changed.set)
        self.clock = clock
        self.computes.ours(computes)
