"""The parts of the embedded bus: database (SQLite), writer (group commit), routes, queues, subscriptions."""
