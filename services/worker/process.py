"""A runner process as its worker sees it: started, given runs one at a time, stopped, killed, always reaped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
from typing import Self

from services.worker.guardian import Guardian
from services.worker.pipes import OutputPipe
from services.worker.process_start import exit_error, how, spawn
from services.worker.run_link import RunLink, answer
from shared.forkserver import ForkServer
from shared.processes import Child
from voxloom.errors import Unavailable
from voxloom.models import RunError
from voxloom.runner import frames

READY_TIMEOUT = 60.0
LEAVE_TIMEOUT = 5.0
REAP_TIMEOUT = 30.0
"""From SIGKILL to the end: only a process that hangs in the kernel needs longer."""
ANSWERS_TIMEOUT = 60.0
"""How long what a run has asked for may still take once the run is over."""
EXIT_AFTER_EOF = 0.5
"""A runner that closes its socket and lives on for so long is killed."""

_log = logging.getLogger("voxloom.worker")


class _Current:
    """The run at hand: who hears of it, and where its end is awaited."""

    def __init__(self, frame: frames.Run, link: RunLink) -> None:
        self.run = frame.run
        self.link = link
        self.log_left = frame.log_limit
        self.log_dropped = 0
        self.ended: asyncio.Future[frames.Ended] = asyncio.get_running_loop().create_future()
        self.answers: set[asyncio.Task[None]] = set()

    def take_log(self, text: str) -> None:
        """Passes lines on, as far as the run's limit for its log allows; the rest is counted."""
        size = len(text) if text.isascii() else len(text.encode())
        if size > self.log_left:
            self.log_left = 0
            self.log_dropped += size
            return
        self.log_left -= size
        self.link.logged(text)

    def settle(self, ended: frames.Ended) -> None:
        if not self.ended.done():
            dropped = ended.log_dropped + self.log_dropped
            self.ended.set_result(ended.model_copy(update={"log_dropped": dropped}))


class _Wire(asyncio.Protocol):
    """Cuts the stream into frames."""

    def __init__(self, owner: RunnerProcess) -> None:
        self._owner = owner
        self._buffer = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream socket's is a Transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while (body := self._next_body()) is not None:
                self._owner.on_frame(frames.parse_for_worker(body))
        except frames.BrokenFrame as error:
            self._owner.on_broken(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.on_connection_lost()

    def _next_body(self) -> bytes | None:
        prefix = frames.LENGTH.size
        if len(self._buffer) < prefix:
            return None
        end = prefix + frames.length_of(bytes(self._buffer[:prefix]))
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[prefix:end])
        del self._buffer[:end]
        return body


class RunnerProcess:
    """Made by `start`. One run at a time; after a run that was not reusable, or an exit, only `kill` makes sense.

    The process leads a session of its own: killing it takes along whatever it has started.
    """

    def __init__(self, process: Child, home: str, guardian: Guardian | None) -> None:
        self._process = process
        self._home = home
        self._guardian = guardian
        self._wire = _Wire(self)
        self._pipes: list[OutputPipe] = []
        self._current: _Current | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watch: asyncio.Task[None] | None = None
        self._module_dir: str | None = None
        self._connected = True
        self._exited = False
        self._killed = False
        self._broken: str | None = None
        self._tail = ""
        self.reusable = True
        self.module_changed = False
        """Whether there is anything new in the folder of its modules."""
        self.sessions: set[str] = set()
        """Tokens whose items it may hold."""
        self.returncode: int | None = None

    @classmethod
    async def start(
        cls,
        *,
        memory: int | None = None,
        threads: int | None = None,
        guardian: Guardian | None = None,
        forks: ForkServer | None = None,
    ) -> Self:
        """A process that is ready for its first run. `memory` limits its address space, in bytes; `threads` is how many
        libraries are to use, where nobody says otherwise; without `forks` it begins from nothing.

        Raises:
            Unavailable: it could not be started.
        """
        ours, theirs = socket.socketpair()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        try:
            # On the loop: a thread that is starting a process cannot be cancelled.
            process, home = await spawn(forks, theirs.fileno(), out_write, err_write, memory, threads)
        except BaseException as error:
            ours.close()
            os.close(out_read)
            os.close(err_read)
            if isinstance(error, OSError):
                raise Unavailable(f"A runner process could not be started: {error}.") from error
            raise
        finally:
            theirs.close()
            os.close(out_write)
            os.close(err_write)
        self = cls(process, home, guardian)
        await self._adopt(ours, out_read, err_read)
        return self

    async def _adopt(self, sock: socket.socket, out: int, err: int) -> None:
        if self._guardian is not None:
            self._guardian.add(self.pid, self._home)
        self._pipes = [OutputPipe(out, "INFO", self._on_printed), OutputPipe(err, "WARNING", self._on_printed)]
        self._watch = asyncio.create_task(self._watch_exit(), name=f"worker.runner.{self.pid}")
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().create_unix_connection(lambda: self._wire, sock=sock)
            async with asyncio.timeout(READY_TIMEOUT):
                await asyncio.shield(self._ready)
        except TimeoutError:
            await self.kill()
            raise Unavailable(f"A runner process was not ready within {READY_TIMEOUT:g} s. {self._tail}") from None
        except BaseException:
            await self.kill()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be given a run."""
        return self._connected and not self._killed and self._broken is None and not self._has_exited()

    async def run(self, frame: frames.Run, link: RunLink) -> frames.Ended:
        """Does one run and waits for its end, however it comes. Cancelling kills the process. Raises Unavailable where
        there is no process any more."""
        if self._current is not None:
            raise RuntimeError("a runner process does one run at a time")
        if not self.alive:
            raise Unavailable("The runner process ended before the run was given to it; run it again.")
        if self._module_dir not in (None, frame.module_dir):
            raise RuntimeError("a runner process serves one module for its life")
        self._module_dir = frame.module_dir
        self._current = current = _Current(frame, link)
        try:
            self._send(frame)
            ended = await asyncio.shield(current.ended)
            await self._finish_answers(current)
        except asyncio.CancelledError:
            await self.kill()
            raise
        finally:
            self._current = None
        self.reusable = self.reusable and ended.reusable
        self.module_changed = ended.module_changed
        return ended

    def stop(self, run: str) -> None:
        """Asks the run to stop; silent if it is over."""
        if self._current is not None and self._current.run == run and self.alive:
            self._send(frames.Stop(run=run))

    async def kill(self) -> None:
        """Kills the process and all it has started, and waits until it is reaped."""
        self._killed = True
        self._kill_group()
        await self._wait_reaped(REAP_TIMEOUT)

    async def leave(self) -> None:
        """Lets an idle process end in good order; kills it if it takes long."""
        if self.alive:
            self._send(frames.Leave())
            await self._wait_reaped(LEAVE_TIMEOUT)
        await self.kill()

    # --- what comes from the process ----------------------------------------------------------------------

    def on_frame(self, frame: frames.ToWorker) -> None:
        current = self._current
        if isinstance(frame, frames.Ready):
            if not self._ready.done():
                self._ready.set_result(None)
        elif current is None or frame.run != current.run:
            return
        elif isinstance(frame, frames.Progress):
            current.link.progress(frame.progress)
        elif isinstance(frame, frames.State):
            current.link.state(frame.state)
        elif isinstance(frame, frames.Logged):
            current.take_log(frame.text)
        elif isinstance(frame, frames.Ask):
            task = asyncio.create_task(self._answer(current.link, frame), name=f"worker.answer.{frame.what}")
            current.answers.add(task)
            task.add_done_callback(current.answers.discard)
        else:
            self._drain_pipes()
            current.settle(frame)

    def on_broken(self, error: frames.BrokenFrame) -> None:
        _log.error("the runner process %d sent what is no frame and is killed: %s", self.pid, error)
        self._broken = str(error)
        self._kill_group()

    def on_connection_lost(self) -> None:
        self._connected = False
        asyncio.get_running_loop().call_later(EXIT_AFTER_EOF, self._kill_if_mute)

    def _on_printed(self, text: str) -> None:
        if self._current is not None:
            self._current.take_log(text)
        elif not self._ready.done():
            self._tail = (self._tail + text)[-2000:]

    # --- inside -------------------------------------------------------------------------------------------

    def _send(self, frame: frames.ToRunner) -> None:
        if self._wire.transport is not None and not self._wire.transport.is_closing():
            self._wire.transport.write(frames.pack(frame))

    async def _answer(self, link: RunLink, ask: frames.Ask) -> None:
        self._send(await answer(link, ask))

    async def _finish_answers(self, current: _Current) -> None:
        """A run may end while something it asked for is under way (after a stop): that must not outlive it."""
        if current.answers:
            _, late = await asyncio.wait(current.answers, timeout=ANSWERS_TIMEOUT)
            for task in late:
                task.cancel()

    def _has_exited(self) -> bool:
        """It may take a while from then on until the exit code is known."""
        return self._exited or self._process.has_exited()

    def _kill_if_mute(self) -> None:
        if not self._has_exited():
            self._broken = self._broken or "it has closed its connection"
            self._kill_group()

    def _kill_group(self) -> None:
        """Only while the leader is not reaped: until then, the number is surely ours."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def _watch_exit(self) -> None:
        await self._process.exited()
        self._exited = True
        self._kill_group()  # what it has left behind
        if self._guardian is not None:
            self._guardian.drop(self.pid)
        await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)
        self.returncode = await self._process.reap()
        self._drain_pipes()
        for pipe in self._pipes:
            pipe.close()
        if self._wire.transport is not None:
            self._wire.transport.abort()
        if not self._ready.done():
            text = f"A runner process ended before it was ready ({how(self.returncode)}). {self._tail}"
            self._ready.set_exception(Unavailable(text.strip()))
            self._ready.exception()  # seen, even if nobody waits any more
        if self._current is not None:
            self._current.settle(self._unexpected_end(self._current.run, self.returncode))

    def _unexpected_end(self, run: str, returncode: int) -> frames.Ended:
        if self._broken is not None:
            message = f"The runner process was killed because it cannot be talked to any more: {self._broken}."
            error = RunError(type="RunnerBroken", message=message, code="runner_broken")
        else:
            error = exit_error(returncode, by_us=self._killed)
        return frames.Ended(run=run, outcome="failed", error=error, reusable=False)

    def _drain_pipes(self) -> None:
        for pipe in self._pipes:
            pipe.drain()

    async def _wait_reaped(self, timeout: float) -> None:
        if self._watch is None:
            return
        done, _ = await asyncio.wait([self._watch], timeout=timeout)
        if not done and self._killed:
            _log.error("the runner process %d does not end although it was killed", self.pid)
