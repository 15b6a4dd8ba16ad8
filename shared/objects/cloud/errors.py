"""What S3 servers and the library say, told in this project's errors: the one place.

Misconfigured where waiting cannot help, StoreUnavailable where it can; what is not listed here counts as the latter.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from shared.objects.cloud.clocks import wrong_clock
from shared.objects.refusals import not_found, not_written
from voxloom.errors import InvalidInput, Misconfigured, StoreFull, StoreUnavailable, TooLarge, VoxloomError

FAILURES = (ClientError, BotoCoreError, aiohttp.ClientError, TimeoutError, ConnectionError)

ABSENT_CODES = {"NoSuchKey", "404", "NotFound"}
UNSURE_CODES = {"404", "NotFound"}
"""Of an answer without a body: the object may be missing, the bucket, or the whole server behind a proxy."""
REFUSED_CODES = {"PreconditionFailed", "412"}
CLASHED_CODES = {"ConditionalRequestConflict", "OperationAborted"}
"""Two writes at the same moment: try again."""
_VAGUE_CODES = {"InvalidRequest", "400"}
"""What servers answer that keep objects in folders to a key like `..`, and others to much else."""

_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"

_MISCONFIGURED = {
    "InvalidAccessKeyId": f"does not know the access key; {_KEYS} that it does",
    "SignatureDoesNotMatch": "finds the signature wrong; check AWS_SECRET_ACCESS_KEY, the region, and that no proxy "
    "changes the host or the path of requests",
    "InvalidToken": f"does not take the session token; {_KEYS} anew",
    "InvalidClientTokenId": f"does not know the access key; {_KEYS} that it does",
    "ExpiredToken": f"says that the session token has expired; {_KEYS} anew",
    "TokenRefreshRequired": f"says that the session token has expired; {_KEYS} anew",
    "AccessDenied": "does not allow this with our key; let the key read, write, list, delete and tag objects, and look "
    "up its buckets",
    "AllAccessDisabled": "has shut the account out; ask whoever runs it",
    "AccountProblem": "has a problem with the account; ask whoever runs it",
    "NotSignedUp": "does not know the account; ask whoever runs it",
    "BucketAlreadyExists": "says that the bucket belongs to somebody else; choose another name in `store`",
    "InvalidBucketName": "does not take the bucket's name; choose another one in `store`",
    "TooManyBuckets": "does not let us have more buckets; choose layout=bucket in `store`, or have the limit raised",
    "PermanentRedirect": "says that the bucket is in another region; set `region` in `store`",
    "AuthorizationHeaderMalformed": "expects another region; set `region` in `store`",
    "AuthorizationQueryParametersError": "expects another region; set `region` in `store`",
    "IllegalLocationConstraintException": "expects another region; set `region` in `store`",
    "InvalidLocationConstraint": "does not have this region; set `region` in `store`",
    "InvalidRegionName": "does not have this region; set `region` in `store`",
    "NotImplemented": "cannot do this; use a server that speaks all of S3 that is needed, see the documents",
    "MethodNotAllowed": "cannot do this; use a server that speaks all of S3 that is needed, see the documents",
}

_UNAVAILABLE = {
    "NoSuchLifecycleConfiguration": "has no rules of expiry for the bucket",
    "BucketAlreadyOwnedByYou": "says that the bucket is ours already; try again",
    "NoSuchBucket": "has lost the bucket; restart a service to have it made again",
    "SlowDown": "has too much to do; try again later",
    "TooManyRequests": "has too much to do; try again later",
    "Throttling": "has too much to do; try again later",
    "ThrottlingException": "has too much to do; try again later",
    "RequestLimitExceeded": "has too much to do; try again later",
    "BandwidthLimitExceeded": "has too much to do; try again later",
    "ServiceUnavailable": "has too much to do, or is starting; try again later",
    "InternalError": "failed; try again, and look at its log if it goes on",
    "RequestTimeout": "waited too long for our bytes; try again",
    "IncompleteBody": "did not get all of our bytes; try again",
    "BadDigest": "got other bytes than were sent; try again, and look at the network if it goes on",
    "XAmzContentSHA256Mismatch": "got other bytes than were sent; try again, and look at the network if it goes on",
    "ConditionalRequestConflict": "was busy with another write of the same object; try again",
    "OperationAborted": "was busy with the same bucket; try again",
    "NoSuchUpload": "has dropped an upload that was under way; try again",
    "InvalidPart": "has lost a part of an upload; try again",
    "InvalidPartOrder": "has lost a part of an upload; try again",
    "InvalidObjectState": "has archived the object; have it restored first",
}

_FULL = {
    "QuotaExceeded",
    "QuotaExceededException",
    "InsufficientStorage",
    "InsufficientCapacity",
    "StorageFull",
    "DiskFull",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
}

_INVALID = {
    "KeyTooLongError": "does not take a key this long; use a shorter one",
    "InvalidTag": "does not take these tags; use letters, digits, spaces and + - = . _ : / @ alone",
    "MetadataTooLarge": "does not take this much metadata; write less",
    "InvalidURI": "does not take this key; use plain letters and digits",
    "XMinioInvalidObjectName": "does not take this key; use plain letters and digits",
    "InvalidObjectName": "does not take this key; use plain letters and digits",
}

_TOLD_APART = {"EntityTooLarge", "RequestTimeTooSkewed"}

# Answers to HEAD have no body: then the status is all there is.
_BY_STATUS = {
    "301": "PermanentRedirect",
    "403": "AccessDenied",
    "404": "NoSuchBucket",
    "NotFound": "NoSuchBucket",
    "405": "MethodNotAllowed",
    "409": "OperationAborted",
    "429": "SlowDown",
    "500": "InternalError",
    "501": "NotImplemented",
    "503": "ServiceUnavailable",
    "507": "InsufficientStorage",
    "Forbidden": "AccessDenied",
}

_NO_KEYS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.NoAuthTokenError,
    boto.TokenRetrievalError,
    boto.SSOError,
)
_WRONG_SETTINGS = (
    boto.ProfileNotFound,
    boto.ConfigNotFound,
    boto.ConfigParseError,
    boto.InvalidConfigError,
    boto.InvalidEndpointConfigurationError,
    boto.InvalidRegionError,
    boto.NoRegionError,
    boto.EndpointProviderError,
    boto.InvalidProxiesConfigError,
    boto.InvalidRetryConfigurationError,
    boto.InvalidRetryModeError,
)

log = logging.getLogger("voxloom.objects")


@dataclass(frozen=True)
class About:
    """What a call was about."""

    server: str
    collection: str = ""
    key: str = ""
    writing: bool = False
    """Whether the object was to be made."""


def code_of(error: Exception) -> str:
    """The server's word for what is wrong, or the status where it sent none; else empty."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def code_behind(error: VoxloomError) -> str:
    """The server's word that an error of ours was made of."""
    cause = error.__cause__
    return code_of(cause) if isinstance(cause, ClientError) else ""


def header_of(answer: Mapping[str, Any], name: str) -> str:
    """A header of an answer, or of an error's `response`; empty: there is none. Names are in small letters."""
    headers: Mapping[str, str] = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers.get(name, "")


def told(error: Exception, about: About) -> VoxloomError:
    """What to tell the caller."""
    telling = _answered(error, about) if isinstance(error, ClientError) else _unanswered(error, about.server)
    telling.__cause__ = error
    return telling


def climbs(key: str) -> bool:
    """Whether it would lead elsewhere if it were a path: where objects are in folders, there are none of such keys."""
    return not {".", ".."}.isdisjoint(key.split("/"))


def is_known(code: str) -> bool:
    tables = (_MISCONFIGURED, _UNAVAILABLE, _FULL, _INVALID, _BY_STATUS, ABSENT_CODES, REFUSED_CODES, _TOLD_APART)
    return any(code in table for table in tables)


def _answered(error: ClientError, about: About) -> VoxloomError:
    code = code_of(error)
    if code in ABSENT_CODES and about.key:
        return not_found(about.collection, about.key)
    if code in REFUSED_CODES:
        return not_written(about.collection, about.key, "it is not as it was expected to be")
    if code == "RequestTimeTooSkewed":
        return wrong_clock(header_of(error.response, "date"), datetime.now(UTC), about.server)
    if code in _VAGUE_CODES and climbs(about.key):
        return _by_code("InvalidURI", about.server) if about.writing else not_found(about.collection, about.key)
    if code == "EntityTooLarge":
        return TooLarge("The object is larger than the object store takes; send a smaller one.")
    return _by_code(code, about.server)


def is_away(error: BaseException, telling: VoxloomError) -> bool:
    """Whether what was raised, and is told as `telling`, means that the store cannot be used at present: it does not
    answer, is not well, or has no room. Of a single request there may be much else."""
    if isinstance(error, ClientError) and not isinstance(telling, StoreFull):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        return isinstance(telling, StoreUnavailable) and (status >= 500 or status == 429)
    return isinstance(telling, StoreUnavailable)


def _by_code(code: str, server: str) -> VoxloomError:
    name = _BY_STATUS.get(code, code)
    if name in _MISCONFIGURED:
        return Misconfigured(f"The object store at {server} {_MISCONFIGURED[name]}.")
    if name in _INVALID:
        return InvalidInput(f"The object store {_INVALID[name]}.")
    if name in _FULL:
        return StoreFull(
            f"The object store at {server} has no room left; delete files (`voxloom rm files ID...`), or free some "
            "space on it, then try again."
        )
    if name in _UNAVAILABLE:
        return StoreUnavailable(f"The object store {_UNAVAILABLE[name]}.")
    log.warning("the object store answered with %s, which is not known here", code)
    return StoreUnavailable(f"The object store answered {code}; try again, and look at its log if it goes on.")


def _unanswered(error: Exception, server: str) -> VoxloomError:
    if isinstance(error, _NO_KEYS):
        return Misconfigured(f"There is no key for the object store at {server}; {_KEYS}.")
    if isinstance(error, _WRONG_SETTINGS):
        return Misconfigured(f"The settings for the object store cannot be used ({error}); correct them.")
    if _is_distrusted(error):
        return Misconfigured(
            f"The certificate of the object store at {server} is not trusted; set AWS_CA_BUNDLE to the file of its "
            "authority, or have the certificate renewed."
        )
    return StoreUnavailable(f"The object store at {server} {_silence(error)}.")


def _silence(error: Exception) -> str:
    if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError | boto.ProxyConnectionError):
        return "cannot be reached; try again once it can, or correct `endpoint` in `store`"
    if isinstance(error, boto.SSLError):
        return "does not speak TLS as it should; see whether `endpoint` in `store` should begin with http or https"
    if isinstance(error, boto.CredentialRetrievalError | boto.MetadataRetrievalError):
        return "cannot be used, since there is no answer from where its keys come from; try again once there is"
    if isinstance(error, (TimeoutError, boto.ReadTimeoutError)):
        return "does not answer in time; try again once it does"
    return f"does not answer in whole ({type(error).__name__}); try again once it does"


def _is_distrusted(error: BaseException | None) -> bool:
    """Whether a certificate was refused: the library hides that in what it raises instead."""
    for _ in range(5):
        if isinstance(error, ssl.SSLCertVerificationError | aiohttp.ClientConnectorCertificateError):
            return True
        kwargs = getattr(error, "kwargs", {})
        inner = kwargs.get("error") if isinstance(kwargs, dict) else None
        error = inner or getattr(error, "certificate_error", None) or getattr(error, "__cause__", None)
        if error is None:
            return False
    return False
