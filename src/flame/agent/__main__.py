"""`python -m flame.agent`: run the one task that the environment names."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from flame.agent.client import Client
from flame.agent.task import run

NEEDED = ("FLAME_JOB_ID", "FLAME_TASK_ID", "FLAME_TASK_KEY")


def main() -> int:
    """Read the command line and run; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m flame.agent", description=__doc__)
    parser.add_argument("--api", required=True, metavar="URL", help="the server")
    parser.add_argument("--work", required=True, type=Path, metavar="DIR", help="the task's folder")
    parser.add_argument("--silence", required=True, type=float, metavar="S", help="when to give the server up")
    arguments = parser.parse_args()
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        parser.error(f"the environment has no {', '.join(missing)}")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would write the task's key into the log
    client = Client(arguments.api, *(os.environ[name] for name in NEEDED))
    return run(client, arguments.work, arguments.silence)


if __name__ == "__main__":
    sys.exit(main())
