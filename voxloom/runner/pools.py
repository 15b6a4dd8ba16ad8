"""What well-known libraries leave running between two calls on purpose, and how it is ended: nobody has to mend that.

Nothing is imported here: what the author's code has not imported has left nothing. Each library starts anew what it
needs the next time. What is reached for by an inner name and is not there under it counts as not known.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import queue
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


class Enders:
    """Asks threads to end, and makes usable again whose they were: somebody may have kept that."""

    def __init__(self) -> None:
        self._thread_pools: dict[int, Any] = {}
        self._process_pools: list[Callable[[], Any]] = []
        self._folders: list[Any] = []

    def ask(self, thread: threading.Thread) -> bool:
        """False where it is not known how. Waits for nothing."""
        return any(ask(thread) for ask in (_tqdm_monitor, self._thread_pool, self._process_pool))

    def begin_anew(self) -> list[str]:
        """To be called when they have ended. Why that cannot be done for some."""
        for executor in self._thread_pools.values():
            _begin_anew(executor)
        for manager in self._folders:
            _remove_folders(manager)
        kept = {type(one).__name__ for each in self._process_pools if (one := each()) is not None}
        return [f"the run has kept a {name}" for name in sorted(kept)]

    def _thread_pool(self, thread: threading.Thread) -> bool:
        """A worker of a ThreadPoolExecutor has a weak reference to it as its first argument."""
        workers = _loaded("concurrent.futures.thread", "_threads_queues")
        if workers is None or thread not in workers:
            return False
        executor = _executor(next(iter(getattr(thread, "_args", ())), None))
        if executor is not None and not executor._shutdown:
            self._thread_pools[id(executor)] = executor
            executor.shutdown(wait=False, cancel_futures=True)
        return True

    def _process_pool(self, thread: threading.Thread) -> bool:
        """The thread that looks after a ProcessPoolExecutor, or after loky's, wherever loky lies."""
        for module in list(sys.modules):
            if module.endswith(("futures.process", "loky.process_executor")):
                kind = _loaded(module, "_ExecutorManagerThread")
                if kind is not None and isinstance(thread, kind):
                    self._end_process_pool(getattr(thread, "executor_reference", None))
                    return True
        return False

    def _end_process_pool(self, reference: Callable[[], Any] | None) -> None:
        """Loky's reusable one is kept by loky itself, which makes another when it is asked the next time."""
        executor = _executor(reference)
        if executor is None or reference is None:
            return
        loky = hasattr(executor, "_flags")
        if not _was_shut_down(executor) and not _is_reusable(executor):
            self._process_pools.append(reference)
        if hasattr(executor, "_temp_folder_manager"):
            self._folders.append(executor._temp_folder_manager)
        executor.shutdown(wait=False, **({"kill_workers": True} if loky else {"cancel_futures": True}))


def _tqdm_monitor(thread: threading.Thread) -> bool:
    kind = _loaded("tqdm._monitor", "TMonitor")
    if kind is None or not isinstance(thread, kind):
        return False
    thread.was_killed.set()
    return True


def _executor(reference: Callable[[], Any] | None) -> Any:
    """None where it is about to notice that nobody has it any more."""
    return reference() if callable(reference) else None


def _was_shut_down(executor: Any) -> bool:
    flags = getattr(executor, "_flags", None)
    return bool(flags.shutdown if flags is not None else executor._shutdown_thread)


def _is_reusable(executor: Any) -> bool:
    """Loky's, or joblib's, which derives from it."""
    return any(kind.__name__ == "_ReusablePoolExecutor" for kind in type(executor).__mro__)


def _begin_anew(executor: Any) -> None:
    """As it was before it had threads: a ThreadPoolExecutor that is shut down takes no work."""
    with executor._shutdown_lock:
        executor._work_queue = queue.SimpleQueue()
        executor._idle_semaphore = threading.Semaphore(0)
        executor._threads = set()
        executor._shutdown = False


def _remove_folders(manager: Any) -> None:
    """What joblib does when a process ends: else its resource tracker takes the folders for forgotten, and warns."""
    with contextlib.suppress(AttributeError, OSError):  # of another joblib
        manager._clean_temporary_resources(force=True)
        for finalizer in list(manager._finalizers.values()):
            atexit.unregister(finalizer)
            finalizer()


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
    """Of multiprocessing's resource tracker and fork server, and of loky's tracker: those that `stop_servers` ends."""
    pipes = {getattr(one.owner, one.pid, None): getattr(one.owner, one.pipe, None) for one in _servers()}
    return {pid for pid, pipe in pipes.items() if pid is not None and pipe is not None}


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
