"""Other systems that run tasks, each in an environment of its own, measured as ours is.

A module `..._noop` has the task and the client of one of them, and runs in its environment: of ours it imports nothing
but `talk` and `bell`, which need the standard library alone.
"""
