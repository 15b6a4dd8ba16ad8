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

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if len(arguments) > 1:
        resource.setrlimit(resource.RLIMIT_AS, (int(arguments[1]), int(arguments[1])))
    faulthandler.enable(2, all_threads=False)  # the others are ours, and would bury the one that crashed
    _make_host(int(arguments[0])).serve()


def _make_host(descriptor: int) -> Host:
    import socket

    from voxloom.runner.channel import Channel
    from voxloom.runner.serving import Host

    return Host(Channel(socket.socket(fileno=descriptor)))


if __name__ == "__main__":
    main(sys.argv[1:])
