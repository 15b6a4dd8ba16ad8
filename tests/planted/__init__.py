"""Forty planted bugs: whether the tests find them. `python -m tests.planted --help` says how to run it."""
