"""Deployers: each starts and ends the agents of tasks in one kind of place (`process`: on this machine).

A deployer has four methods, see `flame.control.watch.Deployer`; it knows nothing of designs, jobs and their states.
`extend` finds it by its `sort`; `process` is the only one so far, and `flame server` takes it.
"""
