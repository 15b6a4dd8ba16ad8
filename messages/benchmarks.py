"""Events of benchmarks. The subject is the benchmark's id; all else is as with executions."""

from __future__ import annotations

from messages.executions import (
    ExecutionAssigned,
    ExecutionCompleted,
    ExecutionFailed,
    ExecutionFinished,
    ExecutionLogged,
    ExecutionProgressed,
    ExecutionRequested,
    ExecutionRequeued,
    ExecutionStarted,
    ExecutionStateSet,
    ExecutionStopPassed,
    ExecutionStopped,
    ExecutionStopRequested,
)


class BenchmarkRequested(ExecutionRequested):
    entity = "benchmark"


class BenchmarkStopRequested(ExecutionStopRequested):
    entity = "benchmark"


class BenchmarkAssigned(ExecutionAssigned):
    entity = "benchmark"


class BenchmarkRequeued(ExecutionRequeued):
    entity = "benchmark"


class BenchmarkStopPassed(ExecutionStopPassed):
    entity = "benchmark"


class BenchmarkStarted(ExecutionStarted):
    entity = "benchmark"


class BenchmarkProgressed(ExecutionProgressed):
    entity = "benchmark"


class BenchmarkLogged(ExecutionLogged):
    entity = "benchmark"


class BenchmarkFinished(ExecutionFinished):
    entity = "benchmark"


class BenchmarkCompleted(ExecutionCompleted):
    entity = "benchmark"


class BenchmarkFailed(ExecutionFailed):
    entity = "benchmark"


class BenchmarkStopped(ExecutionStopped):
    entity = "benchmark"


class BenchmarkStateSet(ExecutionStateSet):
    entity = "benchmark"
