"""An S3 server of the tests' own, in a process of its own. It keeps everything in memory.

It is moto's, with three things more: signatures are checked, also those of URLs; requests are dealt with one after the
other, so that conditions are judged as one step; and it ends when whoever started it does.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, quote, unquote
from urllib.request import urlopen

START_SECS = 180.0
ACCESS_KEY = "tests"
SECRET_KEY = "the tests' secret key"  # It opens nothing.
KEYS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    # Nobody looks for others.
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""What a process needs in its environment to use the server."""

UNCHECKED = "X-Tests-Unchecked"
"""A request with this header is taken whatever its signature is: for proxies that change it."""

COUNTS = "/moto-api/counts"
"""How many requests there were so far, by method."""
EMPTY = "/moto-api/empty"
"""Takes everything out of the buckets whose names begin like the query."""

_SKEW = timedelta(minutes=15)

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class S3Address(ABC):
    """An S3 server of the tests' own, which another process may have started."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    @property
    def endpoint(self) -> str:
        return self._endpoint

    def url(self, *options: str, endpoint: str = "", name: str = "") -> str:
        """For a new store with buckets of its own, unless it is named. `options` are like `layout=bucket`."""
        query = "&".join([f"endpoint={endpoint or self.endpoint}", *options])
        new = f"{new_name()}all" if "layout=bucket" in options else new_name()
        return f"s3://{name or new}?{query}"

    @abstractmethod
    def empty(self, name: str) -> None:
        """Takes all objects out of the buckets whose names begin so; the buckets stay."""


class S3Server(S3Address):
    """`start` again after `stop` or `kill` gives an empty server at the same address."""

    def __init__(self, log: Path, port: int = 0) -> None:
        super().__init__("")
        self._log = log
        self._port = port
        self._process: subprocess.Popen[str] | None = None

    @classmethod
    def elsewhere(cls, facts: Mapping[str, Any]) -> S3Server:
        """One that another process has started and will end."""
        return cls(Path(facts["log"]), facts["port"])

    @property
    def facts(self) -> dict[str, Any]:
        return {"log": str(self._log), "port": self._port}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def empty(self, name: str) -> None:
        """Unfinished uploads and rules go, too."""
        with urlopen(f"{self.endpoint}{EMPTY}?{quote(name)}", timeout=START_SECS) as answer:
            answer.read()

    def start(self) -> S3Server:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        command = [sys.executable, "-m", "tests.s3server", str(self._port)]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        self._port = self._read_port(self._process)
        return self

    def stop(self) -> None:
        self._end(subprocess.Popen.terminate)

    def kill(self) -> None:
        self._end(subprocess.Popen.kill)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _read_port(self, process: subprocess.Popen[str]) -> int:
        lines: queue.Queue[str] = queue.Queue()
        assert process.stdout is not None
        threading.Thread(target=lambda out: lines.put(out.readline()), args=[process.stdout], daemon=True).start()
        try:
            return int(lines.get(timeout=START_SECS))
        except (queue.Empty, ValueError):
            self.kill()
            raise RuntimeError(f"the S3 server did not start:\n{self._log.read_text()}") from None

    def _end(self, how: Callable[[subprocess.Popen[str]], None]) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        how(process)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def new_name() -> str:
    """What the names of buckets begin with that nobody else has."""
    return f"t{secrets.token_hex(4)}-"


# --- the process ------------------------------------------------------------------------------------------


def main(port: int) -> None:
    import logging

    from moto.moto_server import werkzeug_app
    from moto.moto_server.utilities import RegexConverter
    from werkzeug.serving import make_server

    class AnyText(RegexConverter):
        """Keys may have line breaks in them."""

        def __init__(self, url_map: Any, *items: Any) -> None:
            super().__init__(url_map, *(f"(?s:{item})" for item in items))

    class Handler(werkzeug_app.MotoRequestHandler):
        protocol_version = "HTTP/1.1"

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    setattr(werkzeug_app, "RegexConverter", AnyText)  # noqa: B010
    # Its S3 alone: whoever chooses among all services looks through their folders for every request.
    app: Any = werkzeug_app.create_backend_app("s3")
    app.debug = False  # it would make a class of its own for every request
    server = make_server("127.0.0.1", port, careful(app), threaded=True, request_handler=Handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stdout.write(f"{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


def careful(app: App) -> App:
    """The app, with signatures checked and one request at a time."""
    alone = threading.Lock()
    counts: Counter[str] = Counter()

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == COUNTS:
            return _tell(counts, start_response)
        if environ["PATH_INFO"] == EMPTY:
            with alone:
                return _tell({"buckets": _empty(unquote(environ["QUERY_STRING"]))}, start_response)
        counts[environ["REQUEST_METHOD"]] += 1
        body = _body(environ)
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        if (code := _objection(environ, body)) is not None:
            return _refuse(code, environ["REQUEST_METHOD"], start_response)
        with alone:
            return app(environ, start_response)

    return answer


def _tell(counts: Mapping[str, int], start_response: Callable[..., Any]) -> Iterable[bytes]:
    text = json.dumps(counts).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]


def _empty(name: str) -> int:
    from moto.s3.models import FakeBucket, s3_backends

    emptied, new = 0, cast("Any", FakeBucket)
    for account in s3_backends.values():
        for backend in account.values():
            for bucket in [bucket for bucket in backend.buckets.values() if bucket.name.startswith(name)]:
                backend.buckets[bucket.name] = new(bucket.name, bucket.account_id, bucket.region_name)
                emptied += 1
    return emptied


def _body(environ: Mapping[str, Any]) -> bytes:
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    data: bytes = stream.read(int(length)) if length else stream.read() if "HTTP_TRANSFER_ENCODING" in environ else b""
    return data


def _refuse(code: str, method: str, start_response: Callable[..., Any]) -> Iterable[bytes]:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>It is refused.</Message></Error>".encode()
    start_response("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))])
    return [] if method == "HEAD" else [text]  # what follows such an answer is taken for a broken one


def _objection(environ: Mapping[str, Any], body: bytes) -> str | None:
    """What is wrong with the signature (version 4, in a header or in the query); None: nothing."""
    path, _, query = environ["RAW_URI"].partition("?")
    if path.startswith("/moto-api") or _header(environ, UNCHECKED):
        return None
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    if "X-Amz-Signature" in pairs:
        return _objection_to_url(environ, path, pairs)
    return _objection_to_header(environ, path, pairs, body)


def _objection_to_url(environ: Mapping[str, Any], path: str, pairs: dict[str, str]) -> str | None:
    signature = pairs.pop("X-Amz-Signature")
    date, credential = pairs["X-Amz-Date"], pairs["X-Amz-Credential"]
    if _time(date) + timedelta(seconds=int(pairs["X-Amz-Expires"])) < datetime.now(UTC):
        return "AccessDenied"
    headers = pairs["X-Amz-SignedHeaders"]
    return _compare(environ, path, pairs, headers, "UNSIGNED-PAYLOAD", date, credential, signature)


def _objection_to_header(environ: Mapping[str, Any], path: str, pairs: dict[str, str], body: bytes) -> str | None:
    scheme, _, rest = _header(environ, "Authorization").partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        return "AccessDenied"
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    date, digest = _header(environ, "X-Amz-Date"), _header(environ, "X-Amz-Content-SHA256")
    if abs(_time(date) - datetime.now(UTC)) > _SKEW:
        return "RequestTimeTooSkewed"
    if digest not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
        return "XAmzContentSHA256Mismatch"
    headers, credential, signature = fields["SignedHeaders"], fields["Credential"], fields["Signature"]
    return _compare(environ, path, pairs, headers, digest, date, credential, signature)


def _compare(
    environ: Mapping[str, Any],
    path: str,
    pairs: Mapping[str, str],
    headers: str,
    digest: str,
    date: str,
    credential: str,
    signature: str,
) -> str | None:
    access_key, _, scope = credential.partition("/")
    if access_key != ACCESS_KEY:
        return "InvalidAccessKeyId"
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in sorted(pairs.items()))
    lines = [f"{name}:{' '.join(_header(environ, name).split())}\n" for name in headers.split(";")]
    meant = quote(unquote(path), safe="/-_.~")
    request = "\n".join([environ["REQUEST_METHOD"], meant, query, "".join(lines), headers, digest])
    text = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{SECRET_KEY}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    expected = hmac.digest(key, text.encode(), "sha256").hex()
    return None if hmac.compare_digest(expected, signature) else "SignatureDoesNotMatch"


def _header(environ: Mapping[str, Any], name: str) -> str:
    key = name.upper().replace("-", "_")
    return str(environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}", ""))


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _end_with_parent() -> None:
    """Whoever started this process holds the other end of its input."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
