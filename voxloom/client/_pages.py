"""Lists that a server tells page by page."""

from __future__ import annotations

import httpx


def next_cursor(response: httpx.Response) -> str | None:
    """Where the page after this one begins, as its `Link` header has it; None: this is the last."""
    link = response.links.get("next")
    return httpx.URL(link["url"]).params.get("cursor") if link is not None else None
