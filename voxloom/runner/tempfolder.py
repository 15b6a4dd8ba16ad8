"""Where a runner process has its temporary files.

What a run writes goes into the run's own folder, which may lie deep in a data folder. Its name as TMPDIR is short all
the same, and the same for every run of the process: a link in a folder of the process's own, which the worker makes and
removes. Sockets in files have addresses of some 100 bytes at most, and servers that a run has started, as
multiprocessing's, outlive it and go on with the TMPDIR that they began with. Their own sockets lie beside the link.
"""

from __future__ import annotations

import multiprocessing.util
import os
import tempfile
from pathlib import Path


class TempFolder:
    """Made while TMPDIR is the process's own folder."""

    def __init__(self) -> None:
        multiprocessing.util.get_temp_dir()  # which is kept from now on, and passed on to children
        self._link = Path(tempfile.gettempdir()) / f"run-{os.getpid()}"

    def use(self, scratch: str) -> None:
        """Temporary files go into `scratch` from now on. Raises OSError."""
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(scratch, target_is_directory=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(self._link)
