"""What well-known libraries leave running between two calls on purpose, and how it is ended: nobody has to mend that.

Nothing is imported here: what the author's code has not imported has left nothing. Each library starts anew what it
needs the next time. What is reached for by an inner name and is not there under it counts as not known.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from voxloom.runner.children import reap

_STOP_SECS = 1.0


def _loaded(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, None)


# --- threads ----------------------------------------------------------------------------------------------


def ask_to_end(thread: threading.Thread) -> bool:
    """False where it is not known how. Waits for nothing."""
    return any(ask(thread) for ask in (_tqdm_monitor, _thread_pool, _process_pool))


def _tqdm_monitor(thread: threading.Thread) -> bool:
    kind = _loaded("tqdm._monitor", "TMonitor")
    if kind is None or not isinstance(thread, kind):
        return False
    thread.was_killed.set()
    return True


def _thread_pool(thread: threading.Thread) -> bool:
    """A worker of a ThreadPoolExecutor has a weak reference to it as its first argument."""
    workers = _loaded("concurrent.futures.thread", "_threads_queues")
    if workers is None or thread not in workers:
        return False
    return _shut_down(next(iter(getattr(thread, "_args", ())), None))


def _process_pool(thread: threading.Thread) -> bool:
    """The thread that looks after a ProcessPoolExecutor, or after loky's, wherever loky lies."""
    for module in list(sys.modules):
        if module.endswith(("futures.process", "loky.process_executor")):
            kind = _loaded(module, "_ExecutorManagerThread")
            if kind is not None and isinstance(thread, kind):
                return _shut_down(getattr(thread, "executor_reference", None))
    return False


def _shut_down(reference: Callable[[], Any] | None) -> bool:
    executor = reference() if callable(reference) else None
    if executor is None:
        return True  # It is about to notice that nobody has it any more.
    how = {"kill_workers": True} if hasattr(executor, "_flags") else {"cancel_futures": True}  # loky's, the library's
    executor.shutdown(wait=False, **how)
    return True


# --- torch ------------------------------------------------------------------------------------------------


def end_loaders(spared: Collection[int]) -> None:
    """Workers of torch's DataLoaders that are still iterated over, or keep theirs; not where they are `spared`."""
    kind = _loaded("torch.utils.data.dataloader", "_MultiProcessingDataLoaderIter")
    if kind is None:
        return
    objects = gc.get_objects()
    for iterator in [one for one in objects if type(one) is kind]:
        if not any(worker.pid in spared for worker in iterator._workers):
            iterator._shutdown_workers()
    loader = _loaded("torch.utils.data.dataloader", "DataLoader")
    for one in [one for one in objects if loader is not None and issubclass(type(one), loader)]:
        if getattr(one._iterator, "_shutdown", False):
            one._iterator = None  # The next loop over it begins with a new one.


# --- multiprocessing's own processes ----------------------------------------------------------------------


class _Server(NamedTuple):
    """A process that ends when it sees the other end of a pipe closed; `owner` has both under these names."""

    owner: Any
    pid: str
    pipe: str
    address: str | None = None


def _servers() -> Iterator[_Server]:
    fork_server = _loaded("multiprocessing.forkserver", "_forkserver")
    if fork_server is not None:
        yield _Server(fork_server, "_forkserver_pid", "_forkserver_alive_fd", "_forkserver_address")
    for module in list(sys.modules):
        if module.endswith(".resource_tracker"):
            tracker = _loaded(module, "_resource_tracker")
            if tracker is not None and hasattr(tracker, "_fd"):
                yield _Server(tracker, "_pid", "_fd")


def server_pids() -> set[int]:
    """Of multiprocessing's resource tracker and fork server, and of loky's tracker."""
    return {pid for server in _servers() if (pid := getattr(server.owner, server.pid, None)) is not None}


def stop_servers(spared: Collection[int]) -> None:
    """To be called when nothing else is left that has the other end of their pipes. What the tracker still knows, as
    shared memory that nobody has unlinked, goes with it."""
    for server in _servers():
        pid, pipe = getattr(server.owner, server.pid, None), getattr(server.owner, server.pipe, None)
        if pid is not None and pipe is not None and pid not in spared:
            os.close(pipe)
            setattr(server.owner, server.pipe, None)
            _end(pid)
            setattr(server.owner, server.pid, None)
            _forget_address(server)


def _end(pid: int) -> None:
    if not reap(pid, _STOP_SECS):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        reap(pid, _STOP_SECS)


def _forget_address(server: _Server) -> None:
    if server.address is None:
        return
    address = getattr(server.owner, server.address, None)
    setattr(server.owner, server.address, None)
    if isinstance(address, str) and not address.startswith("\0"):
        with contextlib.suppress(OSError):
            os.unlink(address)
