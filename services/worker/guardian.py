"""The last will of a worker: a tiny shell that outlives it by a moment and ends the runner processes it leaves behind.

A runner ends by itself when its worker goes away, but cannot while it is stuck in C with the interpreter's lock held,
and cannot end what it has started once it is dead itself. The guardian sees its standard input close, however the
worker dies, kills the process groups that it was told of and all that is below their leaders, and removes their
folders.
"""

from __future__ import annotations

import logging
import subprocess
from typing import Self

_SCRIPT = """
trap '' HUP INT TERM
groups=
while read -r word group home; do
  case $word in
    add) groups="$groups $group:$home" ;;
    drop)
      kept=
      for each in $groups; do [ "${each%%:*}" = "$group" ] || kept="$kept $each"; done
      groups=$kept ;;
  esac
done
stop_below() {
  found=" $1 " more=yes
  while [ -n "$more" ]; do
    more=
    for stat in /proc/[0-9]*/stat; do
      read -r line < "$stat" || continue
      pid=${line%% *}
      set -- ${line##*) }
      case $found in *" $pid "*) continue ;; *" $2 "*) kill -STOP "$pid"; found="$found$pid " more=yes ;; esac
    done
  done
}
for each in $groups; do
  kill -STOP "-${each%%:*}"
  stop_below "${each%%:*}"
  kill -KILL "-${each%%:*}"
  for pid in $found; do kill -KILL "$pid"; done
  rm -rf "${each#*:}"
done
"""

_log = logging.getLogger("voxloom.worker")


class Guardian:
    """One per worker. Losing it costs the last safety net only: that is logged, and work goes on."""

    def __init__(self, shell: subprocess.Popen[bytes]) -> None:
        self._shell = shell
        self._lost = False

    @classmethod
    def start(cls) -> Self:
        """Blocks for a millisecond or two."""
        shell = subprocess.Popen(  # noqa: S603  # a constant
            ["/bin/sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            env={},
            start_new_session=True,
        )
        return cls(shell)

    def add(self, group: int, home: str = "") -> None:
        """`home` is a folder that goes with the group; its path has no spaces."""
        self._say(f"add {group} {home}\n")

    def drop(self, group: int) -> None:
        """The group's leader is about to be reaped, so that its number may be given to others."""
        self._say(f"drop {group}\n")

    def close(self) -> None:
        """Kills what was added and not dropped, and waits for the guardian's own end."""
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._shell.wait(timeout=10)

    def _say(self, text: str) -> None:
        if self._lost or self._shell.stdin is None:
            return
        try:
            self._shell.stdin.write(text.encode())
        except OSError as error:
            self._lost = True
            _log.warning(
                "the guardian of the runner processes is gone (%s): a kill -9 of this worker would leave them", error
            )
