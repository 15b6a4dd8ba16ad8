"""What RabbitMQ and its client raise, in our words. Nothing else catches their exceptions."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aiormq import exceptions as amqp

from voxloom.errors import BusUnavailable, Misconfigured, VoxloomError

AMQP_ERRORS = (amqp.AMQPError, ConnectionError, OSError, TimeoutError, RuntimeError)
"""All that aiormq raises when something is wrong with a connection or a channel; RuntimeError: it is closed."""


class NotThere(BusUnavailable):
    """The queue in question is not there, or not any more."""


def translated(error: BaseException, address: str, doubt: str = "") -> VoxloomError:
    """Misconfigured for what waiting cannot mend. `address` has no password in it; `doubt` is told where the broker
    just hangs up."""
    if isinstance(error, VoxloomError):
        return error
    if isinstance(error, amqp.ProbableAuthenticationError | amqp.AuthenticationError):
        return Misconfigured(f"The broker at {address} refuses the user or the password; correct them in its address.")
    if _is_about_trust(error) or _is_about_trust(error.__cause__):
        return Misconfigured(
            f"No secure connection to the broker at {address} ({_why(error)}); "
            "see that it speaks TLS there, that its certificate is trusted (cafile=… in its address), "
            "and that it trusts yours, where you show one (certfile=…)."
        )
    if isinstance(error, amqp.ConnectionNotAllowed) or _is_shut_out(error):
        return Misconfigured(
            f"The broker does not let this user into the vhost of {address}, or has no such vhost; "
            "make the vhost and give the user rights there: docs/deploy.md says which."
        )
    if isinstance(error, amqp.ChannelAccessRefused):
        return Misconfigured(
            f"The broker at {address} does not allow what a service must do ({_why(error)}); "
            "give its user the rights that docs/deploy.md names."
        )
    if isinstance(error, amqp.ChannelPreconditionFailed):
        return Misconfigured(
            f"The broker at {address} has it otherwise, perhaps from an older version ({_why(error)}); "
            "let it run empty and delete it (rabbitmqctl delete_queue NAME), or give another vhost."
        )
    if isinstance(error, amqp.ChannelNotFoundEntity):
        return NotThere(f"The broker at {address} does not have it ({_why(error)}).")
    if isinstance(error, amqp.IncompatibleProtocolError | amqp.ProtocolSyntaxError):
        return Misconfigured(f"What answers at {address} speaks no AMQP 0-9-1; correct host and port in its address.")
    but = f"; {doubt}" if doubt and _has_hung_up(error) else ""
    return BusUnavailable(f"The broker at {address} cannot be reached ({_why(error)}){but}.")


def _has_hung_up(error: BaseException) -> bool:
    return any(isinstance(one, ConnectionResetError) for one in (error, error.__cause__, *error.args))


def _is_about_trust(error: BaseException | None) -> bool:
    """Of what can go wrong with TLS, what does not pass: a connection that just ends may come another time."""
    return isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)


def _is_shut_out(error: BaseException) -> bool:
    """aiormq expects nothing but a yes when it opens a vhost, and tells of any other answer as of a wrong frame."""
    return isinstance(error, amqp.InvalidFrameError) and "Connection.OpenOk" in str(error)


def _why(error: BaseException) -> str:
    text = " ".join(str(part) for part in error.args) if error.args else ""
    return text or type(error).__name__


@contextmanager
def translating(address: str, doubt: str = "") -> Iterator[None]:
    try:
        yield
    except AMQP_ERRORS as error:
        raise translated(error, address, doubt) from error
    except asyncio.CancelledError as error:
        # aiormq cancels whoever waits for a connection that is closed.
        if is_cancelled():
            raise
        raise translated(error, address) from error


def closed() -> BusUnavailable:
    return BusUnavailable("The bus is not open; try again once the server has started.")


def is_cancelled() -> bool:
    """Whether somebody has cancelled this task, as against something in it that was."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


@contextmanager
def heeding_cancels() -> Iterator[None]:
    """A cancel that came in the block takes effect at its end at the latest.

    Where a channel is closed, the library takes CancelledError for a word of its own and goes on; whoever was cancelled
    then would not know, and wait or work for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0

    def was_cancelled() -> bool:
        return task is not None and task.cancelling() > before

    try:
        yield
    except Exception:
        if was_cancelled():
            raise asyncio.CancelledError from None
        raise
    if was_cancelled():
        raise asyncio.CancelledError
