"""What the routes are grouped by in their documents, in the order in which one reads it."""

from __future__ import annotations

from services.gateway.http.routing import Chapter

CHAPTERS = (
    Chapter(
        "Files",
        "Files",
        "A file is one HDF5 file. After the upload it never changes. [inputs.md](inputs.md) says what it may hold.",
    ),
    Chapter(
        "Deploys",
        "Deploys",
        "A deploy puts an algorithm into the server, or a new minor version of it. "
        "[authors.md](authors.md) tells how to write one.",
    ),
    Chapter("Algorithms", "Algorithms", "What is deployed: each name and major version is one algorithm."),
    Chapter("Executions", "Executions", "An execution is one run of an algorithm on files."),
    Chapter("Samples", "Samples", "[training.md](training.md) tells what samples, trainings and checkpoints are for."),
    Chapter("Trainings", "Trainings", "An algorithm that can be trained learns from samples."),
    Chapter("Checkpoints", "Checkpoints", "What trainings have saved, for executions and trainings to begin with."),
    Chapter("Benchmarks", "Benchmarks", "An algorithm that can measure itself is told to."),
    Chapter(
        "Operations",
        "Queues, workers, dead letters",
        "`voxloom queues`, `voxloom workers` and `voxloom dead` show the same. "
        "[operations.md](operations.md#watching-it) explains what to do about it.",
    ),
    Chapter("Server", "The server", "Which server this is, whether it is well, and what it offers."),
)
