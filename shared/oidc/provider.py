"""What a process knows of its OpenID provider: its keys, and the tokens that have proven somebody."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from shared.control.clock import NeverBack
from shared.oidc.claims import Header, Proof, Rules, digest_of, header_of, proof_of, refused
from shared.oidc.fetching import fetch_keys, unavailable
from shared.outages import Outage
from shared.settings import Settings
from voxloom.errors import Unavailable, VoxloomError

AGAIN_SECS = 30.0
"""Between two questions to the provider, however many unknown keys are named."""
FRESH_SECS = 600.0
"""After so long its keys are asked for anew: one that it has taken away counts no more."""
REMEMBERED_SECS = 300.0
"""For so long a token is not looked at again."""
MOST_PROOFS = 10_000

if TYPE_CHECKING:
    from shared.oidc.keys import Keys, Known

log = logging.getLogger("voxloom.oidc")


def check_library() -> None:
    """Raises Misconfigured where what reads tokens is not installed."""
    importlib.import_module("shared.oidc.keys")


def provider_of(settings: Settings) -> Provider | None:
    """None: the server has none."""
    if not settings.oidc_issuer:
        return None
    rules = Rules(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        algorithms=frozenset(settings.oidc_algorithms),
        groups_claim=settings.oidc_groups_claim,
        groups=settings.oidc_groups,
        longest_secs=settings.oidc_token_hours * 3600,
    )
    return Provider(rules, now=NeverBack().moment)


class Remembered(NamedTuple):
    proof: Proof
    until: float


class Provider:
    def __init__(
        self,
        rules: Rules,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        fetch: Callable[[str], Awaitable[bytes]] = fetch_keys,
    ) -> None:
        self._rules, self._now, self._clock, self._fetch = rules, now, clock, fetch
        self._keys: Keys = {}
        self._asked_at = -AGAIN_SECS * 2
        self._failed: Unavailable | None = unavailable("was not asked yet")
        self._turn = asyncio.Lock()
        self._proofs: OrderedDict[str, Remembered] = OrderedDict()
        """By the digests of tokens."""
        self._ids: dict[str, str] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="oidc")

    @property
    def issuer(self) -> str:
        return self._rules.issuer

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def keep_fresh(self) -> None:
        """Without end. Where the provider is away, the keys that are known go on."""
        outage = Outage(log, "the keys of the OpenID provider are not known anew", "they are known again")
        while True:
            await self._ask(self._clock())
            if self._failed is not None:
                outage.failed(self._failed)
            else:
                outage.over()
            await asyncio.sleep(AGAIN_SECS if self._failed is not None else FRESH_SECS)

    # --- tokens ---------------------------------------------------------------------------------------------

    def proof(self, text: str) -> Proof | None:
        """What `prove` has found out of this token."""
        found = self._proofs.get(digest_of(text))
        return found.proof if found is not None else None

    def proof_by_id(self, token_id: str) -> Proof | None:
        found = self._proofs.get(self._ids.get(token_id, ""))
        return found.proof if found is not None else None

    async def prove(self, text: str) -> Proof:
        """Raises Unauthenticated, Unavailable (`issuer_unavailable`)."""
        digest = digest_of(text)
        found = self._proofs.get(digest)
        if found is not None and self._clock() < found.until and self._now() < found.proof.expires_at:
            return found.proof
        try:
            proof = await self._verified(text)
        except Unavailable:
            raise
        except VoxloomError:
            self._forget(digest)
            raise
        self._remember(proof)
        return proof

    async def _verified(self, text: str) -> Proof:
        header = header_of(text, self._rules)
        keys = await self._keys_of(header.kid)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._look, text, header, keys)

    def _look(self, text: str, header: Header, keys: tuple[Known, ...]) -> Proof:
        from shared.oidc.keys import payload_of

        return proof_of(text, payload_of(text, header, keys), header, self._rules, self._now())

    def _remember(self, proof: Proof) -> None:
        self._forget(proof.digest)
        self._proofs[proof.digest] = Remembered(proof, self._clock() + REMEMBERED_SECS)
        self._ids[proof.id] = proof.digest
        while len(self._proofs) > MOST_PROOFS:
            self._forget(next(iter(self._proofs)))

    def _forget(self, digest: str) -> None:
        found = self._proofs.pop(digest, None)
        if found is not None and self._ids.get(found.proof.id) == digest:
            del self._ids[found.proof.id]

    # --- keys -----------------------------------------------------------------------------------------------

    async def _keys_of(self, kid: str) -> tuple[Known, ...]:
        """An unknown one may be new."""
        if kid not in self._keys:
            await self._ask(self._clock())
        if kid in self._keys:
            return self._keys[kid]
        if self._failed is not None:
            raise Unavailable(str(self._failed), code=self._failed.code)  # each its own: a traceback grows
        raise refused("the key that it was signed with is not known")

    async def _ask(self, wanted_at: float) -> None:
        """One question for all who want it, and none too soon after the last."""
        async with self._turn:
            if wanted_at - self._asked_at < AGAIN_SECS:
                return
            self._asked_at = self._clock()
            try:
                raw = await self._fetch(self._rules.issuer)
                from shared.oidc.keys import read_keys

                loop = asyncio.get_running_loop()
                self._keys = await loop.run_in_executor(self._thread, read_keys, raw)
                self._failed = None
            except Unavailable as error:
                self._failed = error
            except BaseException:  # Whoever has asked has left: the next one asks.
                self._asked_at = -AGAIN_SECS * 2
                raise
