"""The parts of the embedded bus: journal (SQLite), writer (group commit), routes, queues, subscriptions."""
