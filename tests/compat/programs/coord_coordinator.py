"""A coordinator as upstream's examples start one: there is nothing to write."""

import argparse

from flame.config import Config
from flame.mode.horizontal.coord_syncfl.coordinator import Coordinator

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="")
    parser.add_argument("config", nargs="?", default="./config.json")
    args = parser.parse_args()

    config = Config(args.config)
    coordinator = Coordinator(config)
    coordinator.compose()
    coordinator.run()
