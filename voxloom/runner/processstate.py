"""What a run may change of its process as a whole, and how that is read and put back. docs/authors.md has the table."""

from __future__ import annotations

import builtins
import contextlib
import faulthandler
import gc
import importlib
import locale
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Kept(NamedTuple):
    """One thing: `read` gives what can be compared, and `put_back` makes it that again. Without `put_back` a change
    ends the use of the process. What `grows` may have more in it afterwards."""

    name: str
    read: Callable[[], Any]
    put_back: Callable[[Any], object] | None = None
    grows: bool = False


def _attribute(module: Any, name: str) -> Kept:
    return Kept(f"{module.__name__}.{name}", lambda: getattr(module, name), lambda value: setattr(module, name, value))


def _in_place(name: str, module: Any, attribute: str) -> Kept:
    """A list that others hold, too."""

    def put_back(value: tuple[list[Any], list[Any]]) -> None:
        there, items = value
        there[:] = items
        setattr(module, attribute, there)

    return Kept(name, lambda: (getattr(module, attribute), [*getattr(module, attribute)]), put_back)


# --- the process ------------------------------------------------------------------------------------------


def _environment() -> dict[bytes, bytes]:
    """As bytes: decoding it all, after every run, would cost more than the rest of these looks together."""
    return dict(os.environ._data)  # type: ignore[attr-defined]


def _put_environment_back(before: Mapping[bytes, bytes]) -> None:
    for name in os.environb.keys() - before.keys():
        del os.environb[name]
    os.environb.update(before)
    time.tzset()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_LIMITS = tuple(sorted({number for name, number in vars(resource).items() if name.startswith("RLIMIT_")}))


def _limits() -> list[tuple[int, int]]:
    return [resource.getrlimit(number) for number in _LIMITS]


def _put_limits_back(before: list[tuple[int, int]]) -> None:
    """Raises ValueError or OSError where a hard limit has been lowered, and who has done it may not raise it."""
    for number, limits in zip(_LIMITS, before, strict=True):
        if resource.getrlimit(number) != limits:
            resource.setrlimit(number, limits)


_signal: Any = importlib.import_module("_signal")
_SIGNALS = tuple(sorted(int(number) for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}))


def _handlers() -> list[Any]:
    return [_signal.getsignal(number) for number in _SIGNALS]  # signal's own makes an enum of each, which takes longer


def _put_handlers_back(before: list[Any]) -> None:
    """Raises TypeError for one that Python has not set, and so cannot set again."""
    for number, handler in zip(_SIGNALS, before, strict=True):
        if _signal.getsignal(number) is not handler:
            _signal.signal(number, handler)


_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


def _timers() -> list[bool]:
    return [signal.getitimer(number)[0] > 0 for number in _TIMERS]


def _end_timers(_: list[bool]) -> None:
    """One of `load_assets` goes, too: what is left of it is not known any more."""
    for number in _TIMERS:
        signal.setitimer(number, 0)


def _mask() -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def _streams() -> list[tuple[int, int] | None]:
    return [_identity(number) for number in range(3)]


def _identity(descriptor: int) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        found = os.fstat(descriptor)
        return found.st_dev, found.st_ino
    return None


def _rights() -> tuple[Any, ...]:
    linux = sys.platform == "linux"
    more = (os.getresuid(), os.getresgid(), os.sched_getscheduler(0)) if linux else (os.getuid(), os.geteuid())
    return (*more, os.getpriority(os.PRIO_PROCESS, 0))


def _affinity() -> Any:
    return os.sched_getaffinity(0) if sys.platform == "linux" else None


def _put_affinity_back(cores: Any) -> None:
    os.sched_setaffinity(0, cores)


PROCESS = (
    Kept("timers of signals", _timers, _end_timers),
    Kept("signal handlers", _handlers, _put_handlers_back),
    Kept("blocked signals", _mask, lambda mask: signal.pthread_sigmask(signal.SIG_SETMASK, mask)),
    Kept("the environment", _environment, _put_environment_back),
    Kept("the umask", _umask, os.umask),
    Kept("resource limits", _limits, _put_limits_back),
    Kept("the cores that it may use", _affinity, _put_affinity_back),
    Kept("the nice value, the scheduling or the user", _rights),
    Kept("the descriptors 0, 1 or 2", _streams),
)

# --- Python -----------------------------------------------------------------------------------------------


def _faulthandler() -> bool:
    faulthandler.cancel_dump_traceback_later()
    return faulthandler.is_enabled()


def _put_faulthandler_back(on: bool) -> None:
    if on:
        faulthandler.enable(2, all_threads=False)
    else:
        faulthandler.disable()


def _collector() -> tuple[bool, tuple[int, ...], int, list[Any]]:
    return gc.isenabled(), gc.get_threshold(), gc.get_debug(), [*gc.callbacks]


def _put_collector_back(before: tuple[bool, tuple[int, ...], int, list[Any]]) -> None:
    enabled, threshold, debug, callbacks = before
    (gc.enable if enabled else gc.disable)()
    gc.set_threshold(*threshold)
    gc.set_debug(debug)
    gc.callbacks[:] = callbacks


def _tracing() -> bool:
    return tracemalloc.is_tracing()


def _put_tracing_back(on: bool) -> None:
    (tracemalloc.start if on else tracemalloc.stop)()


def _locale() -> str:
    return locale.setlocale(locale.LC_ALL)


def _put_hooks_back(before: tuple[Any, ...]) -> None:
    trace, profile, thread_trace, thread_profile = before
    sys.settrace(trace)
    sys.setprofile(profile)
    threading.settrace(thread_trace)
    threading.setprofile(thread_profile)


def _hooks() -> tuple[Any, ...]:
    return sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()


def _builtins() -> dict[str, Any]:
    return dict(vars(builtins))


def _put_builtins_back(before: dict[str, Any]) -> None:
    for name in vars(builtins).keys() - before.keys():
        delattr(builtins, name)
    vars(builtins).update(before)


def _loop() -> tuple[Any, Any]:
    """asyncio's policy and its event loop, without making them."""
    policy = getattr(sys.modules.get("asyncio.events"), "_event_loop_policy", None)
    return policy, getattr(getattr(policy, "_local", None), "_loop", None)


def _put_loop_back(before: tuple[Any, Any]) -> None:
    policy, loop = before
    sys.modules["asyncio.events"]._event_loop_policy = policy  # type: ignore[attr-defined]  # None: made when needed
    if policy is not None:
        policy.set_event_loop(loop)


def _start_method() -> str | None:
    """How multiprocessing starts processes, where that has been chosen."""
    context = sys.modules.get("multiprocessing.context")
    if context is None:
        return None
    chosen: str | None = context._default_context.get_start_method(allow_none=True)
    return chosen


def _put_start_method_back(method: str | None) -> None:
    sys.modules["multiprocessing.context"]._default_context.set_start_method(method, force=True)


def _print_options() -> dict[str, Any]:
    return dict(np.get_printoptions())


PYTHON = (
    Kept("faulthandler", _faulthandler, _put_faulthandler_back),
    Kept("the garbage collector", _collector, _put_collector_back),
    Kept("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Kept("the switch interval", sys.getswitchinterval, sys.setswitchinterval),
    Kept("the longest int as text", sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    Kept("tracemalloc", _tracing, _put_tracing_back),
    Kept("trace and profile functions", _hooks, _put_hooks_back),
    Kept("the locale", _locale, lambda name: locale.setlocale(locale.LC_ALL, name)),
    Kept("builtins", _builtins, _put_builtins_back),
    *(_attribute(sys, name) for name in ("stdout", "stderr", "stdin", "argv", "dont_write_bytecode")),
    *(_attribute(sys, name) for name in ("excepthook", "unraisablehook", "displayhook", "breakpointhook")),
    _attribute(threading, "excepthook"),
    _in_place("sys.path", sys, "path"),
    Kept("asyncio's event loop", _loop, _put_loop_back),
    Kept("multiprocessing's start method", _start_method, _put_start_method_back),
    Kept("the default timeout of sockets", socket.getdefaulttimeout, socket.setdefaulttimeout),
    Kept("numpy's print options", _print_options, lambda options: np.set_printoptions(**options)),
)

# --- logging ----------------------------------------------------------------------------------------------

LoggerState = tuple[Any, ...]


def loggers() -> dict[str, LoggerState]:
    """Handlers, filters, level and switches of each; the root's name is empty."""
    named = logging.root.manager.loggerDict
    real = {name: one for name, one in named.items() if isinstance(one, logging.Logger)}
    return {"": _state(logging.root), **{name: _state(one) for name, one in real.items()}}


def _state(logger: logging.Logger) -> LoggerState:
    handlers = tuple(map(_handler_state, logger.handlers))
    return handlers, tuple(logger.filters), logger.level, logger.propagate, logger.disabled


def _handler_state(handler: logging.Handler) -> LoggerState:
    return handler, handler.level, handler.formatter, tuple(handler.filters)


def _put_handler_back(state: LoggerState) -> logging.Handler:
    handler: logging.Handler = state[0]
    _, level, handler.formatter, filters = state
    handler.setLevel(level)
    handler.filters[:] = filters
    return handler


def put_loggers_back(before: Mapping[str, LoggerState]) -> None:
    """Of one that is new, what only the library itself can have set is left: its level, and that it says nothing."""
    for name, state in loggers().items():
        logger = logging.getLogger(name) if name else logging.root
        if name not in before:
            logger.handlers[:] = [one for one in logger.handlers if isinstance(one, logging.NullHandler)]
        elif before[name] != state:
            handlers, filters, level, logger.propagate, logger.disabled = before[name]
            logger.handlers[:], logger.filters[:] = map(_put_handler_back, handlers), filters
            logger.setLevel(level)


LOGGING = (
    Kept("loggers", loggers, put_loggers_back, grows=True),
    Kept("the level below which nothing is logged", lambda: logging.root.manager.disable, logging.disable),
)

# --- torch, where it has been imported --------------------------------------------------------------------

_TORCH_DEFAULTS = {"dtype": "float32", "grad": True, "deterministic": False, "warn_only": False}


def _torch() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "is_grad_enabled"):
        return _TORCH_DEFAULTS
    return {
        "dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
    }


def _put_torch_back(before: dict[str, Any]) -> None:
    torch = importlib.import_module("torch")
    torch.set_default_dtype(getattr(torch, before["dtype"]))
    torch.set_grad_enabled(before["grad"])
    torch.use_deterministic_algorithms(before["deterministic"], warn_only=before["warn_only"])


TORCH = (Kept("torch's default dtype, gradients or determinism", _torch, _put_torch_back),)

ALL = (*PROCESS, *PYTHON, *LOGGING, *TORCH)
