"""Where on which S3 server the collections are, as one URL says it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from shared.objects.base import COLLECTIONS
from shared.objects.checks import LONGEST_KEY, checked_collection, checked_key
from voxloom.errors import Misconfigured

Addressing = Literal["path", "virtual"]

_OPTIONS = {"endpoint", "public_endpoint", "region", "layout", "addressing", "trusted"}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LONGEST_S3_KEY = 1024
_LONGEST_COLLECTION = max(map(len, COLLECTIONS))
_LONGEST_PREFIX = _LONGEST_S3_KEY - LONGEST_KEY - _LONGEST_COLLECTION - 1
_EXAMPLE = "s3://voxloom-?endpoint=https://s3.example.org"


class Spot(NamedTuple):
    """An object, as S3 names it and as callers do; or a bucket, where `s3_key` is empty."""

    bucket: str
    s3_key: str = ""
    collection: str = ""
    key: str = ""

    @property
    def params(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.s3_key} if self.s3_key else {"Bucket": self.bucket}


@dataclass(frozen=True)
class S3Place:
    """A bucket per collection, `{name}{collection}`; or `one_bucket`, in which every collection is a folder."""

    name: str
    one_bucket: bool = False
    path: str = ""
    """Of one bucket: the folder that the collections' folders are in. It ends with a slash, if there is one."""
    endpoint: str | None = None
    """Of the server; None: AWS, or what botocore finds in its own settings."""
    public_endpoint: str | None = None
    """Under which people reach the server with presigned URLs; None: the same."""
    region: str | None = None
    addressing: Addressing | None = None
    """Whether the bucket is in the path of a URL or in its host name; None: as botocore does it."""
    trusted: bool = False
    """Nobody in the network up to the server changes bytes on their way, so they need not be signed."""

    @classmethod
    def from_url(cls, url: str) -> S3Place:
        """`s3://NAME[/PATH]?endpoint=…&region=…&public_endpoint=…&layout=buckets|bucket&addressing=path|virtual`
        `&trusted=yes`. Raises Misconfigured, with no password in it."""
        parts = _split(url)
        options = _options(parts)
        layout = _choice(options, "layout", ("buckets", "bucket")) or "buckets"
        return cls(
            name=_name(parts, layout),
            one_bucket=layout == "bucket",
            path=_path(parts, layout),
            endpoint=_endpoint(options, "endpoint"),
            public_endpoint=_endpoint(options, "public_endpoint"),
            region=options.get("region") or None,
            addressing=_addressing(options),
            trusted=_choice(options, "trusted", ("yes", "no")) == "yes",
        )

    @property
    def buckets(self) -> list[str]:
        return [self.name] if self.one_bucket else [self.bucket(collection) for collection in COLLECTIONS]

    @property
    def unsigned(self) -> bool:
        """Whether bytes may go without a signature of their own: TLS guards them, or nobody is there to change them.

        Hashing them would take a quarter of the time that sending them does.
        """
        return self.trusted or self.endpoint is None or _is_safe(self.endpoint)

    def bucket(self, collection: str) -> str:
        return self.name if self.one_bucket else f"{self.name}{collection}"

    def spot(self, collection: str, key: str) -> Spot:
        """Raises InvalidInput."""
        bucket, prefix = self.bucket(checked_collection(collection)), self.prefix(collection)
        checked_key(key)
        return Spot(bucket, f"{prefix}{key}", collection, key)

    @property
    def probe(self) -> Spot:
        """A folder for objects of our own, beside the collections or in the one that is used the least."""
        if self.one_bucket:
            return Spot(self.name, f"{self.path}probe/")
        return Spot(self.bucket("benchmark-store"), "probe/")

    def prefix(self, collection: str) -> str:
        """What the S3 keys of the collection's objects begin with."""
        return f"{self.path}{collection}/" if self.one_bucket else ""

    def __str__(self) -> str:
        return self.endpoint or "AWS"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _wrong("it is no URL") from None
    if parts.scheme != "s3":
        raise _wrong("it does not begin with s3://")
    if "@" in parts.netloc:
        raise Misconfigured(
            "The object store's URL has a user or password in it, where logs and process lists would show them; leave "
            "them out and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if parts.fragment:
        raise _wrong("it has a # in it")
    return parts


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := options.keys() - _OPTIONS:
        raise _wrong(f"it has {sorted(unknown)[0]!r}, which is none of {', '.join(sorted(_OPTIONS))}")
    return options


def _name(parts: SplitResult, layout: str) -> str:
    name = parts.netloc
    longest = name if layout == "bucket" else name + max(COLLECTIONS, key=len)
    if not _BUCKET.fullmatch(longest):
        raise _wrong(
            f"a bucket cannot be called {longest!r}: names have 3 to 63 small letters, digits, dots and dashes"
        )
    return name


def _path(parts: SplitResult, layout: str) -> str:
    path = parts.path.strip("/")
    if not path:
        return ""
    if layout != "bucket":
        raise _wrong("it has a path, which belongs to layout=bucket alone")
    if len(path.encode()) >= _LONGEST_PREFIX:
        raise _wrong(f"its path has {_LONGEST_PREFIX} bytes or more, which leaves too few for the objects' keys")
    return f"{path}/"


def _addressing(options: dict[str, str]) -> Addressing | None:
    match _choice(options, "addressing", ("path", "virtual")):
        case "path":
            return "path"
        case "virtual":
            return "virtual"
        case _:
            return None


def _choice(options: dict[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    value = options.get(name)
    if value is not None and value not in choices:
        raise _wrong(f"its {name} is {value!r}, which is none of {', '.join(choices)}")
    return value


def _endpoint(options: dict[str, str], name: str) -> str | None:
    value = options.get(name)
    if not value:
        return None
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise _wrong(f"its {name} is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _wrong(f"its {name} is not http://HOST:PORT or https://HOST:PORT")
    if "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise _wrong(f"its {name} has more in it than http or https, host and port")
    return f"{parts.scheme}://{parts.netloc}"


def _is_safe(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    if parts.scheme == "https":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def _wrong(why: str) -> Misconfigured:
    return Misconfigured(f"The object store's URL cannot be used: {why}. Set `store` to one like {_EXAMPLE}.")
