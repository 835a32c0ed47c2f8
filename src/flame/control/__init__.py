"""The control plane: who may do what with which design, dataset and job, and what becomes of a job's tasks.

Nothing here knows HTTP or starts a process. `lifecycle` says which moves there are, `store` keeps what was decided,
and every other module is one kind of thing. A request is one transaction: it is done as a whole, or not at all. What
takes time (`watch`) looks at the store, never at what it remembers, so that a server which is started again goes on.
"""
