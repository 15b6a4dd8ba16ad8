"""What a request's headers say of the bytes that it brings, and what of that nobody takes. The same on every route that
takes bytes in."""

from __future__ import annotations

from collections.abc import Mapping

from shared.objects.refusals import digest_mismatch
from voxloom.digests import CONTENT, REPR, from_header
from voxloom.errors import InvalidInput


def check_body(headers: Mapping[str, str]) -> None:
    """Raises InvalidInput unless the body is what it stands for: whole, and as it is."""
    if "Content-Range" in headers:
        raise InvalidInput(
            "This is a part of a file only (Content-Range), and parts are not put together here. Send the whole file "
            "in one request, without that header.",
            code="unsupported_content_range",
            http_status=400,
        )
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        # What a packed body grows to is known too late.
        raise InvalidInput(
            f"A body with Content-Encoding {encoding[:40]!r} is not taken; send it as it is.",
            code="unsupported_content_encoding",
            http_status=415,
        )


def check_file_body(headers: Mapping[str, str]) -> None:
    """Raises InvalidInput unless the body is a file's bytes and nothing else."""
    check_body(headers)
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        raise InvalidInput(
            f"The body is a form ({kind[:40]}), which has more in it than the file. Send the file's bytes alone as the "
            "body: curl --data-binary @FILE, in requests data=file, not -F and not files=.",
            code="unsupported_media_type",
            http_status=415,
        )


def digest_said(headers: Mapping[str, str]) -> str | None:
    """The digest that the body must have, where the client has said one. Raises InvalidInput."""
    said = {from_header(headers[name]) for name in (REPR, CONTENT) if name in headers} - {None}
    if len(said) > 1:  # Of a whole body that is as it is, both are the same.
        raise digest_mismatch()
    return said.pop() if said else None
