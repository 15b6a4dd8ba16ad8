"""The table of the lists of runs, its indexes, and how a row gets there."""

from __future__ import annotations

SCHEMA = """
CREATE TABLE runs (
    id TEXT NOT NULL UNIQUE, started INTEGER NOT NULL, completed INTEGER, status INTEGER NOT NULL,
    algorithm INTEGER NOT NULL, minor TEXT, progress REAL NOT NULL, attempt INTEGER NOT NULL, task INTEGER NOT NULL,
    began INTEGER, error TEXT, submitter TEXT,
    took INTEGER NOT NULL AS (coalesce(completed - started, -1))
);
CREATE INDEX by_start ON runs (task, started, id);
CREATE INDEX by_status ON runs (task, status, started, id);
CREATE INDEX by_algorithm ON runs (task, algorithm, started, id);
CREATE INDEX by_submitter ON runs (task, submitter, started, id) WHERE submitter IS NOT NULL;
CREATE INDEX by_end ON runs (completed);
CREATE INDEX by_duration ON runs (task, took, id);
CREATE INDEX by_duration_of_status ON runs (task, status, took, id);
CREATE INDEX by_duration_of_algorithm ON runs (task, algorithm, took, id);
"""
WRITE = """
INSERT INTO runs (id, started, completed, status, algorithm, minor, progress, attempt, task, began, error, submitter)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET completed = excluded.completed,
status = excluded.status, progress = excluded.progress, attempt = excluded.attempt,
began = excluded.began, error = excluded.error
"""
COLUMNS = "id, started, completed, status, algorithm, minor, progress, attempt, task, began, error, submitter"
