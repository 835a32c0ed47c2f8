"""The floors: each workload's arithmetic with no framework around it. Run as `python -m bench.floors.a`."""
