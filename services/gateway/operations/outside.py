"""Those outside: what is public is said to them, and what they ask for by messages is done as if it were sent to REST.

Each gateway that is told to serves what is asked; one of them at a time passes on what is said.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from messages.base import Event
from messages.control import SYSTEM
from messages.outside import ExecutionAsked, ExecutionRejected
from messages.runs import Work
from messages.wire import Message
from services.gateway.context import Context
from services.gateway.http.callers import check
from services.gateway.http.concurrency import passes
from services.gateway.http.consistency import why_behind
from services.gateway.http.idempotency import Key
from services.gateway.http.problems import internal_error
from services.gateway.operations import askings, runs
from services.gateway.operations.askings import Place
from services.gateway.operations.inventory import Inventory
from services.gateway.operations.outside_tally import Tally
from shared.audit.counts import What
from shared.audit.doing import LONGEST
from shared.bus.outside import BRIDGE, Asking, Outside, outward
from shared.caller import LOCAL, Caller
from shared.outages import Outage, waiting
from shared.pinning import strict_work_of
from shared.platform import make_outside
from voxloom.backoff import Backoff
from voxloom.errors import BusFull, NotAllowed, StoreFull, Unauthenticated, Unavailable, VoxloomError
from voxloom.ids import new_id

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
DRAIN_SECS = 2.0
"""What is being said and answered when the gateway stops may take so long; after that it is for others to do."""
PATIENCE_SECS = 60.0
"""How long a gateway tries by itself before a message goes back."""
OPERATION = "events"
_OF_MESSAGES = "message\0"
"""Before the id of a message as an idempotency key: no header of HTTP can have it."""
_REFUSED = (401, 403, 404)

log = logging.getLogger("voxloom.gateway.outside")
T = TypeVar("T")


class Ignored(Exception):
    """Nobody can be told: it is not known who has sent the message, or they may not look into that project."""


class Outsiders:
    def __init__(self, context: Context, outside: Outside) -> None:
        self._context = context
        self._outside = outside
        self._users = context.settings.outside_users
        self._opened = False
        self._tally = Tally(log)
        self._outage = Outage(log, "those outside cannot be reached yet", "those outside can be reached")
        context.metrics.watch_outside(self._tally.counted, lambda: self._opened and self._outside.is_there)

    async def begin(self) -> None:
        """Makes the queue of what is to be said, and tries once to reach those outside. Raises Misconfigured."""
        await self._context.bus.declare(BRIDGE)
        try:
            await self._open()
        except Unavailable as error:
            self._outage.failed(error)

    async def run(self) -> None:
        """Until it is cancelled. Whatever becomes of those outside, the gateway is there for all others."""
        try:
            await self._until(self._open)
            bridge = await self._until(lambda: self._context.bus.consume(BRIDGE, self.tell))
            try:
                await self._until(lambda: self._outside.serve(self.answer))
                await self._tally.keep_telling()
            finally:
                await bridge.close(drain=DRAIN_SECS)
        finally:
            await self._outside.close(drain=DRAIN_SECS)

    async def _open(self) -> None:
        if not self._opened:
            await self._outside.open()
            self._opened = True

    async def _until(self, step: Callable[[], Awaitable[T]]) -> T:
        """What the step comes to, however often it has to be tried: people may mend what waiting cannot."""
        backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        while True:
            try:
                done = await step()
            except VoxloomError as error:
                self._outage.failed(error)
                await asyncio.sleep(backoff.next())
            else:
                self._outage.over()
                return done

    # --- what they hear -------------------------------------------------------------------------------------

    async def tell(self, events: Sequence[Event]) -> None:
        """Raises BusUnavailable: then the same events come again."""
        messages = [message for event in events if (message := _shown(event)) is not None]
        if messages:
            await self._outside.say(messages)

    # --- what they ask --------------------------------------------------------------------------------------

    async def answer(self, asking: Asking) -> None:
        """Settles one message: a run is asked for, or it is rejected, or there is nobody who could be told. Raises
        Unavailable where it is to come again, and nothing else."""
        backoff, patience = Backoff(FIRST_PAUSE, LONGEST_PAUSE), time.monotonic() + PATIENCE_SECS
        while True:
            try:
                await self._answer(asking)
            except Ignored as ignored:
                self._tally.note("ignored", str(ignored), asking.user)
            except Unavailable as error:
                if time.monotonic() < patience:
                    log.info("a message from outside waits: %s", error, extra=waiting(error))
                    await asyncio.sleep(backoff.next())
                    continue
                if asking.deliveries < askings.MOST_DELIVERIES:
                    raise
                self._tally.note("ignored", error.code, asking.user)
            except Exception as error:  # noqa: BLE001 - one that nobody can even reject must not come again and again
                self._tally.note("ignored", _internal(error).code, asking.user)
            return

    async def _answer(self, asking: Asking) -> None:
        place = askings.place_of(asking.key)
        if place is None:
            raise Ignored("message_misaddressed")
        if askings.is_passed_on(asking):
            raise Ignored("message_passed_on")
        caller = await self._caller(asking, place.project)
        try:
            asked = await self._ask(asking, place, caller)
        except (StoreFull, BusFull) as error:  # As over REST: whoever asks is told at once.
            await self._reject(asking, place, caller, error)
        except Unavailable:
            raise
        except VoxloomError as error:
            await self._reject(asking, place, caller, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the message must not come again and again
            await self._reject(asking, place, caller, _internal(error))
        else:
            self._tally.note("repeated" if asked.repeated else "accepted")

    async def _caller(self, asking: Asking, project: str) -> Caller:
        """Who asks, if they may look into the project. Raises Ignored, ControlUnavailable."""
        door = self._context.door
        if door is None:
            if (why := await why_behind(self._context.catch_up)) is not None:
                log.debug("a message from outside may be judged by what is no longer so: %s", why)
            return LOCAL
        if not asking.user:
            raise Ignored("user_missing")
        await door.be_current()
        principal = self._users.get(asking.user, asking.user)
        try:
            return door.caller_named(principal, project)
        except (Unauthenticated, NotAllowed) as error:
            self._note_refused(SYSTEM, principal, error)
            raise Ignored(error.code) from None

    async def _ask(self, asking: Asking, place: Place, caller: Caller) -> runs.Asked:
        """Raises what the checks of a request over REST raise."""
        askings.check(asking, place, time.time())
        if place.project != caller.project:
            raise askings.not_open_to(place.project, caller.project)
        check(caller, "run")
        self._context.room.check(len(asking.body))
        if passes(len(asking.body)):
            return await self._ask_for(asking, place, caller)
        async with self._context.turnstile.turn():
            return await self._ask_for(asking, place, caller)

    async def _ask_for(self, asking: Asking, place: Place, caller: Caller) -> runs.Asked:
        asked = askings.read(asking, self._context.settings.max_json_bytes)
        inventory = Inventory(self._context, caller)
        wish = runs.Wish(
            OPERATION,
            asked,
            lambda: work_of(inventory, asked),
            run=place.subject,
            may_be_unsaid=asking.redelivered,
        )
        key = Key(caller, _OF_MESSAGES + (asking.message_id or place.subject))
        return await runs.ask(self._context, caller, wish, key)

    # --- what is refused ------------------------------------------------------------------------------------

    async def _reject(self, asking: Asking, place: Place, caller: Caller, error: VoxloomError) -> None:
        """Raises BusUnavailable: then the message comes again, and is rejected once more."""
        event = ExecutionRejected(
            subject=place.subject or new_id(),
            project=place.project,
            actor=caller.actor,
            message_id=asking.message_id,
            error=askings.said_of(error),
        )
        await self._outside.say([message for message in [outward(event)] if message is not None])
        self._tally.note("rejected", error.code, asking.user)
        self._note_refused(caller.project, caller.principal, error)

    def _note_refused(self, project: str, principal: str, error: VoxloomError) -> None:
        """For the audit of a closed server."""
        if (auditor := self._context.auditor) is not None and error.http_status in _REFUSED:
            auditor.counts.add(What("request", "refused", project, principal[:LONGEST], code=error.code))


async def speaking(context: Context) -> Coroutine[Any, Any, None]:
    """What is to run as long as the gateway does: nothing, where nobody outside is spoken to. Raises Misconfigured."""
    outside = make_outside(context.settings)
    if outside is None:
        return asyncio.sleep(0)
    outsiders = Outsiders(context, outside)
    await outsiders.begin()
    return outsiders.run()


async def work_of(inventory: Inventory, asked: ExecutionAsked) -> Work:
    """As REST makes it of a request that names the algorithm's id. Raises NotFound, InvalidInput."""
    algorithm_id = asked.algorithm_id
    if algorithm_id is None:
        name, major = asked.algorithm_name or "", asked.algorithm_major_version or ""
        entry = await inventory.context.algorithms.named(inventory.caller, name, major)
        algorithm_id = entry.algorithm_id
    return await strict_work_of(inventory, askings.pinned(asked, algorithm_id))


def _shown(event: Event) -> Message | None:
    """One that cannot be told must not keep back all others."""
    try:
        return outward(event)
    except VoxloomError as error:
        log.warning("%s of %s is not told outside: %s", event.type_name, event.subject, error)
        return None


def _internal(error: Exception) -> VoxloomError:
    return internal_error(error, "a message from outside", log)
