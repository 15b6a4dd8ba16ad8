"""Requests to the server: the address, retries where they are safe, and errors as Voxloom's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx

from voxloom.client._address import Address
from voxloom.client._aio import each, sleep
from voxloom.client._bodies import Body
from voxloom.client._problems import checked, failure_of, should_come_back
from voxloom.errors import Unavailable

CONNECT_SECS = 5.0
RETRY_DELAYS_SECS = (0.1, 0.3)
_MAY_BE_REPEATED = frozenset({"GET", "HEAD"})


def path_of(*parts: str) -> str:
    """A path of these segments, whatever they hold."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


class AsyncTransport:
    """One pool of connections to one server.

    A GET, or a request under an idempotency key, is repeated twice when the connection fails or the server says 503
    with `retryable`; nothing else is, as it could be done twice.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        self.address = address
        self.timeout = timeout
        self._http = httpx.AsyncClient(
            base_url=address.url,
            headers={"User-Agent": "voxloom-client", **address.headers},
            follow_redirects=False,  # nobody else is shown who we are
            timeout=httpx.Timeout(timeout, connect=CONNECT_SECS),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=32),
            trust_env=not address.local,  # a proxy cannot reach a server on this machine
            # Loading the certificates costs time, and without TLS nobody asks for them; of a server on this machine,
            # too, SSL_CERT_FILE names them.
            verify=httpx.create_ssl_context() if address.secure else False,
        )

    def show(self, token: str | None) -> None:
        """From now on this proves who we are; None: nothing does."""
        self._http.headers.pop("Authorization", None)
        if token is not None:
            self._http.headers["Authorization"] = f"Bearer {token}"

    async def close(self) -> None:
        await self._http.aclose()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: str | None = None,
        body: Body | None = None,
        content_type: str = "application/json",
        timeout: float | None = None,
        key: str | None = None,
    ) -> httpx.Response:
        """The answer, read whole. `json` is sent as it is, `body` streamed. Raises VoxloomError.

        `timeout` is for the answer alone, counted from the last byte sent. `key`: an idempotency key of this request
        alone, under which the server does it once however often it comes; not for a `body`, which is read only once.
        """
        headers: dict[str, str] = {}
        content: Any = None
        if json is not None:
            content, headers = json.encode(), {"Content-Type": content_type}
        elif body is not None:
            content = each(iter(body))
            headers = {"Content-Type": content_type, "Content-Length": str(body.size)}
        if key is not None:
            headers["Idempotency-Key"] = key
        built = self._http.build_request(
            method, path, params=_given(params), content=content, headers=headers, timeout=self._waits(timeout)
        )
        return await self._send(built, repeat=key is not None or method in _MAY_BE_REPEATED)

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        silence: float | None = None,
        repeat: bool = True,
    ) -> AsyncIterator[httpx.Response]:
        """A GET whose answer is read piece by piece inside the block. Raises VoxloomError.

        `silence`: seconds without a byte after which the connection counts as lost. `repeat`: whether to try again
        when there is no answer; one that breaks off is never repeated.
        """
        waits = self._waits(silence)
        built = self._http.build_request("GET", path, params=_given(params), headers=headers, timeout=waits)
        response = await self._send(built, repeat=repeat, stream=True)
        try:
            yield response
        except httpx.HTTPError as error:
            raise failure_of(error, self.address.url) from error
        finally:
            await response.aclose()

    async def _send(self, request: httpx.Request, *, repeat: bool, stream: bool = False) -> httpx.Response:
        for delay in RETRY_DELAYS_SECS if repeat else ():
            try:
                response = await self._send_once(request, stream)
            except Unavailable as error:
                if error.code == "timeout":
                    raise
            else:
                if not should_come_back(response):
                    return checked(response)
            await sleep(delay)
        return checked(await self._send_once(request, stream))

    async def _send_once(self, request: httpx.Request, stream: bool) -> httpx.Response:
        try:
            response = await self._http.send(request, stream=stream)
            if not response.is_success:
                await response.aread()
        except httpx.HTTPError as error:
            raise failure_of(error, self.address.url) from error
        return response

    def _waits(self, answer: float | None) -> httpx.Timeout:
        return httpx.Timeout(self.timeout, connect=CONNECT_SECS, read=answer or self.timeout)


def _given(params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Query parameters without those that are None; httpx writes booleans as true and false."""
    return {name: value for name, value in (params or {}).items() if value is not None}
