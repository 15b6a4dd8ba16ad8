"""Checks responses against the OpenAPI document that the server itself serves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types
from referencing import Registry
from referencing.jsonschema import DRAFT202012

_BASE = "urn:voxloom:openapi"


class OpenApiCheck:
    """`check` as an event hook of an httpx client looks at every response of a documented route:

    `httpx.Client(event_hooks={"response": [OpenApiCheck(document).check]})`
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        resource = DRAFT202012.create_resource(document)
        self._registry: Registry[Any] = Registry().with_resource(_BASE, resource)
        self._paths = [(_pattern(path), path) for path in document["paths"]]
        self.checked: set[tuple[str, str, int]] = set()
        """Method, path and status of what was looked at."""

    @classmethod
    def of(cls, server: httpx.Client) -> OpenApiCheck:
        return cls(server.get("/openapi.json").raise_for_status().json())

    def check(self, response: httpx.Response) -> None:
        """Raises AssertionError where the response is not what was promised. An event stream is not read."""
        found = self._operation(response.request.method, response.request.url.raw_path.decode().partition("?")[0])
        if found is None:
            return
        path, operation = found
        promised = operation["responses"].get(str(response.status_code))
        assert promised is not None, f"{response.request.method} {path} never promised a {response.status_code}"
        self.checked.add((response.request.method, path, response.status_code))
        if response.request.method != "HEAD":
            self._check_content(response, promised.get("content", {}))

    async def acheck(self, response: httpx.Response) -> None:
        """`check`, as an event hook of an httpx.AsyncClient."""
        found = self._operation(response.request.method, response.request.url.raw_path.decode().partition("?")[0])
        if found is not None and _media_type(response) != "text/event-stream":
            await response.aread()
        self.check(response)

    def _operation(self, method: str, path: str) -> tuple[str, Mapping[str, Any]] | None:
        name = "get" if method == "HEAD" else method.lower()
        for pattern, template in self._paths:
            if pattern.fullmatch(path) and name in self._document["paths"][template]:
                return template, self._document["paths"][template][name]
        return None

    def _check_content(self, response: httpx.Response, content: Mapping[str, Any]) -> None:
        media_type = _media_type(response)
        if not content:
            assert response.read() == b""
            return
        assert media_type in content, f"{response.request.url}: {media_type!r} was not promised, but {list(content)}"
        schema = content[media_type].get("schema")
        if schema is not None and media_type.endswith("json"):
            response.read()
            Draft202012Validator(_absolute(schema), registry=self._registry).validate(response.json())


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip()


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"({\w+})", path)
    return re.compile("".join("[^/]+" if part.startswith("{") else re.escape(part) for part in parts))


def _absolute(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_absolute(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _BASE + value if name == "$ref" else _absolute(value) for name, value in schema.items()}
