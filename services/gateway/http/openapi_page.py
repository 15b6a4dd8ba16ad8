"""The OpenAPI document as one page for people: no script, nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_WRAP = re.compile(r"(?<!\n)\n(?!\n|\* ) *")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
code, pre { font-family: ui-monospace, monospace; font-size: 13px; }
pre { background: #f6f6f4; padding: .8rem; overflow-x: auto; border-radius: 4px; }
details { border: 1px solid #ddd; border-radius: 4px; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } summary b { display: inline-block; width: 4.5rem; }
.told { white-space: pre-line; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top; }
"""


def page(document: Mapping[str, Any]) -> bytes:
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    return "".join(
        [
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>",
            f"<h1>{title}</h1><p>{escape(info['description'])} ",
            "For programs: <a href=openapi.json>openapi.json</a>.</p>",
            *_operations(document),
            "<h2>Models</h2>",
            *_models(document),
            "</html>",
        ]
    ).encode()


def _operations(document: Mapping[str, Any]) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2>{_told(tag)}"
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(method, path, operation)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> {escape(operation['summary'])}"
    yield f"</summary>{_told(operation)}"
    if operation["parameters"]:
        rows = (_row(one["name"], one["in"], _kind(one["schema"], one)) for one in operation["parameters"])
        yield f"<h4>Parameters</h4><table>{''.join(rows)}</table>"
    if body := operation.get("requestBody"):
        yield f"<h4>Body</h4><table>{''.join(_contents(body['content']))}</table>"
    yield "<h4>Answers</h4><table>"
    for status, answer in operation["responses"].items():
        kinds = " ".join(f"{kind}" for kind in _names(answer.get("content", {})))
        yield _row(status, answer["description"], kinds)
    yield "</table></details>"


def _told(one: Mapping[str, Any]) -> str:
    """Markdown, which people can read as it is; where it was only wrapped, the browser wraps."""
    text = _WRAP.sub(" ", one.get("description", ""))
    return f"<p class=told>{escape(text)}</p>" if text else ""


def _contents(content: Mapping[str, Any]) -> Iterator[str]:
    for kind, media in content.items():
        yield _row(kind, _name(media.get("schema", {})))


def _names(content: Mapping[str, Any]) -> Iterator[str]:
    for kind, media in content.items():
        yield f"{kind} {_name(media.get('schema', {}))}"


def _name(schema: Mapping[str, Any]) -> str:
    if "items" in schema:
        return f"list of {_name(schema['items'])}"
    return str(schema["$ref"]).rpartition("/")[2] if "$ref" in schema else str(schema.get("type", ""))


def _kind(schema: Mapping[str, Any], parameter: Mapping[str, Any]) -> str:
    facts = [_name(schema)]
    facts += [
        f"{name} {schema[name]}" for name in ("minimum", "maximum", "default") if schema.get(name) not in (None, [])
    ]
    facts += ["required"] if parameter["required"] else []
    return f"{', '.join(facts)}. {parameter.get('description', '')}"


def _models(document: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in document["components"]["schemas"].items():
        text = json.dumps(schema, indent=2, ensure_ascii=False)
        yield f"<details><summary><code>{escape(name)}</code></summary><pre>{escape(text)}</pre></details>"


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
