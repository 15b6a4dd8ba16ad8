"""The policy that docs/deploy.md gives to the bucket's user: all that the store does, and no more."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import pytest
from botocore.session import Session

from shared.objects.cloud.place import S3Place
from tests.unit.compose_file import ROOT

BUCKET, OBJECTS = "arn:aws:s3:::{}", "arn:aws:s3:::{}/key"
_POLICY = re.compile(r"^```json\n(\{\n  \"Version\".*?)^```$", re.MULTILINE | re.DOTALL)


class Right(NamedTuple):
    action: str
    resource: str


LOOK = Right("s3:ListBucket", BUCKET)
READ = Right("s3:GetObject", OBJECTS)
WRITE = Right("s3:PutObject", OBJECTS)
TAG = Right("s3:PutObjectTagging", OBJECTS)
DELETE = Right("s3:DeleteObject", OBJECTS)
EXPIRE = Right("s3:PutLifecycleConfiguration", BUCKET)

# What each call takes, as "Required permissions for Amazon S3 API operations" of its manual has it. Objects are written
# with their tags; without the right to look, what is missing would be forbidden and not missing.
NEEDS: dict[str, set[Right]] = {
    "abort_multipart_upload": {Right("s3:AbortMultipartUpload", OBJECTS)},
    "complete_multipart_upload": {WRITE},
    "create_multipart_upload": {WRITE, TAG},
    "delete_bucket_lifecycle": {EXPIRE},
    "delete_object": {DELETE},
    "delete_objects": {DELETE},
    "get_bucket_lifecycle_configuration": {Right("s3:GetLifecycleConfiguration", BUCKET)},
    "get_object": {READ, LOOK},
    "get_object_tagging": {Right("s3:GetObjectTagging", OBJECTS)},
    "head_bucket": {LOOK},
    "head_object": {READ, LOOK},
    "list_objects_v2": {LOOK},
    "put_bucket_lifecycle_configuration": {EXPIRE},
    "put_object": {WRITE, TAG},
    "put_object_tagging": {TAG},
    "upload_part": {WRITE},
}
SPARED = "create_bucket"
"""Whoever makes the buckets beforehand."""


def statements() -> list[dict[str, Any]]:
    (text,) = _POLICY.findall((ROOT / "docs" / "deploy.md").read_text())
    found: list[dict[str, Any]] = json.loads(text)["Statement"]
    return found


def calls() -> set[str]:
    """Every operation of S3 that the store's code names."""
    client = Session().create_client("s3", region_name="us-east-1", aws_access_key_id="-", aws_secret_access_key="-")
    operations = set(client.meta.method_to_api_mapping)
    return {text for text in texts() if text in operations}


def texts() -> Iterator[str]:
    for path in [*(ROOT / "shared" / "objects" / "cloud").glob("*.py"), ROOT / "shared" / "objects" / "s3.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def is_given(right: Right, bucket: str) -> bool:
    resource = right.resource.format(bucket)
    return any(right.action in one["Action"] and fnmatchcase(resource, one["Resource"]) for one in statements())


def test_it_is_known_of_every_call_what_it_takes() -> None:
    assert calls() == {*NEEDS, SPARED}


@pytest.mark.parametrize("call", sorted(NEEDS))
def test_the_policy_allows_a_call_in_every_bucket(call: str) -> None:
    buckets = S3Place.from_url("s3://voxloom-?endpoint=https://s3.lab").buckets
    assert [(right, bucket) for right in NEEDS[call] for bucket in buckets if not is_given(right, bucket)] == []


def test_the_policy_allows_nothing_that_no_call_takes() -> None:
    given = [action for one in statements() for action in one["Action"]]
    assert sorted(given) == sorted({right.action for rights in NEEDS.values() for right in rights})


@pytest.mark.parametrize("right", [LOOK, READ, WRITE, DELETE])
def test_the_policy_allows_nothing_in_buckets_of_others(right: Right) -> None:
    assert not is_given(right, "somebody-elses")
