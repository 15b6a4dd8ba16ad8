"""The process that hosts an author's Runner: `python -m voxloom.runner.host SOCKET [MEMORY]`.

The main thread runs the author's code, since signals, torch and GUI libraries want it there; one thread reads the
socket, another sends the news. When the worker goes away the process ends at once, whatever the author's code is doing.

Child processes that are spawned import this module as their main one, so it imports next to nothing before `main`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from voxloom.runner import importing

if TYPE_CHECKING:
    from voxloom.runner.serving import Host

if __name__ == "__mp_main__":
    importing.install_in_child()


def main(arguments: list[str]) -> None:
    import faulthandler
    import resource

    from voxloom.runner import children

    children.adopt()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if len(arguments) > 1:
        resource.setrlimit(resource.RLIMIT_AS, (int(arguments[1]), int(arguments[1])))
    faulthandler.enable(2, all_threads=False)  # the others are ours, and would bury the one that crashed
    _leave_sigterm_to_the_worker()
    _make_host(int(arguments[0])).serve()


def _leave_sigterm_to_the_worker() -> None:
    """A supervisor may send it to all that belongs to a service. The worker hears it, too, and ends this process when
    its time has come. Children get it as usual: pools end theirs with it."""
    import os
    import signal

    def hold() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def take_again() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def become_mortal() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        take_again()

    # Not SIG_IGN, which what is executed later on would inherit. A child's first moment is no time to lose one in.
    signal.signal(signal.SIGTERM, lambda *_: None)
    os.register_at_fork(before=hold, after_in_parent=take_again, after_in_child=become_mortal)


def _make_host(descriptor: int) -> Host:
    import socket

    from voxloom.runner.channel import Channel
    from voxloom.runner.serving import Host

    return Host(Channel(socket.socket(fileno=descriptor)))


if __name__ == "__main__":
    main(sys.argv[1:])
