"""A RabbitMQ of the tests' own: in its own folder, on ports that were free, gone when whoever started it is."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

from tests.certificates import Certified, authority_in, certified
from tests.polling import pauses

MISSING = (
    "RabbitMQ is missing: run `apt-get install rabbitmq-server` (or `.ci/install-broker` as root); "
    "the tests start their own."
)
START_SECS = 180.0
STOP_SECS = 60.0
KNOWN_SECS = 60.0
CONTROL_SECS = 240.0
"""A program of Erlang starts for each command."""
_BIN = Path("/usr/lib/rabbitmq/bin")
_LOWEST_PORT = 10_000
_PORTS_EACH = 1_400
_USER = "guest"
_OPEN = {"configure": ".*", "write": ".*", "read": ".*"}

# All of it is one process group, which the shell kills as soon as its input ends: that is, with the tests.
# A server that finds no epmd would start one that leaves the group and stays.
_GUARD = """
epmd -address 127.0.0.1 </dev/null &
until epmd -names >/dev/null 2>&1; do kill -0 $! || exit 1; done
"$0"/rabbitmq-server </dev/null &
read -r _
kill -KILL 0
"""

_CONFIG = """
listeners.tcp.1 = 127.0.0.1:{amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {metrics}
loopback_users = none
disk_free_limit.absolute = 10MB
vm_memory_high_watermark.absolute = 4GB
"""

# Who comes without a certificate is let in; who shows one, only if it is of the lab's authority.
_TLS = """
listeners.ssl.1 = 127.0.0.1:{amqps}
ssl_options.cacertfile = {authority.certificate}
ssl_options.certfile = {own.certificate}
ssl_options.keyfile = {own.key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
"""

# Two schedulers that do not spin, and nothing that listens to other machines.
_ERLANG = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"

_PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus")
_THEIRS = ("rabbitmq_management_agent", "rabbitmq_prelaunch", "rabbitmq_web_dispatch")
"""What those, and the server itself, need of the plugins that it comes with."""

# Erlang loads each module when it is called first, and loading one takes much longer than one among a thousand; the
# server asks for all of all its parts when it starts. If this fails, it starts as ever. What it starts has other parts.
_LOAD_TOGETHER = """
os:unsetenv("ERL_AFLAGS"),
Keys = fun(Part) ->
    {ok, [{application, Part, Found}]} = file:consult(code:where_is_file(atom_to_list(Part) ++ ".app")), Found end,
Add = fun Add(Part, Parts) ->
    case lists:member(Part, Parts) of
        true -> Parts;
        false -> lists:foldl(Add, [Part | Parts], proplists:get_value(applications, Keys(Part))) end end,
Parts = lists:foldl(Add, [], [rabbit, rabbitmq_management, rabbitmq_prometheus]),
code:ensure_modules_loaded(lists:append([proplists:get_value(modules, Keys(Part)) || Part <- Parts])).
"""


class Broker:
    """`start` again after `stop` or `kill` finds what was kept, at the same address."""

    def __init__(self, folder: Path, *, ports: Sequence[int] = (), node: str = "", pid: int = 0) -> None:
        self._folder = folder
        self._ports = list(ports) or free_ports(6)
        self._amqp, self._amqps, self._http, self._metrics, self._epmd, self._dist = self._ports
        self._node = node or f"voxloom-{secrets.token_hex(4)}@localhost"
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = pid
        """0 until it was started, here or by another process."""

    @classmethod
    def elsewhere(cls, facts: Mapping[str, Any]) -> Broker:
        """One that another process has started and will end: use it, and leave it alive."""
        return cls(**{**facts, "folder": Path(facts["folder"])})

    @property
    def facts(self) -> dict[str, Any]:
        return {"folder": str(self._folder), "ports": self._ports, "node": self._node, "pid": self.pid}

    @property
    def url(self) -> str:
        return self.url_of("/")

    def url_of(self, vhost: str, user: str = _USER, password: str = _USER) -> str:
        return (
            f"amqp://{quote(user, safe='')}:{quote(password, safe='')}@127.0.0.1:{self._amqp}/{quote(vhost, safe='')}"
        )

    def secure_url_of(self, vhost: str, **options: object) -> str:
        """With TLS, at the name `localhost` that its certificate is for; `options` go into the query."""
        query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in options.items())
        return f"amqps://{_USER}:{_USER}@localhost:{self._amqps}/{quote(vhost, safe='')}?{query}"

    @property
    def authority(self) -> Certified:
        """Who has signed its certificate."""
        return authority_in(self._folder)

    @property
    def management(self) -> str:
        return f"http://127.0.0.1:{self._http}"

    @property
    def metrics(self) -> str:
        """Where Prometheus would look."""
        return f"http://127.0.0.1:{self._metrics}/metrics"

    @property
    def log(self) -> str:
        return (self._folder / "output").read_text(errors="replace")

    # --- life -------------------------------------------------------------------------------------------------

    def start(self) -> Broker:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "plugins").write_text(f"[{','.join(_PLUGINS)}].")
        (self._folder / "load").write_text(_LOAD_TOGETHER)
        self._lay_out_plugins()
        config = _CONFIG.format(amqp=self._amqp, management=self._http, metrics=self._metrics)
        (self._folder / "rabbitmq.conf").write_text(config + self._tls())
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, str(_BIN)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**self._environment, "ERL_AFLAGS": f"-run file script {self._folder}/load"},
                cwd=self._folder,
                start_new_session=True,
            )
        try:
            self._until(self._is_up, START_SECS, "did not start")
        except BaseException:
            self.kill()
            raise
        self.pid = int((self._folder / "pid").read_text())
        return self

    def _lay_out_plugins(self) -> None:
        """Those it does not need, it would look into all the same."""
        (there := self._folder / "plugins-there").mkdir(exist_ok=True)
        for place in _BIN.parent.glob("lib/rabbitmq_server-*/plugins/*-*"):
            name = place.name.partition("-")[0]
            link = there / place.name
            if (not name.startswith("rabbitmq_") or name in _PLUGINS + _THEIRS) and not link.is_symlink():
                link.symlink_to(place)

    def _tls(self) -> str:
        return _TLS.format(
            amqps=self._amqps, authority=self.authority, own=certified(self._folder, "localhost", self.authority)
        )

    @property
    def _environment(self) -> dict[str, str]:
        place = str(self._folder)
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
        return {
            **clean,
            "HOME": place,
            "ERL_EPMD_PORT": str(self._epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(self._dist),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": f"{place}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{place}/plugins",
            "RABBITMQ_PLUGINS_DIR": f"{place}/plugins-there",
            "RABBITMQ_MNESIA_BASE": f"{place}/data",
            "RABBITMQ_LOG_BASE": f"{place}/log",
            "RABBITMQ_PID_FILE": f"{place}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
        }

    def _is_up(self) -> bool:
        with suppress(OSError, ValueError), socket.create_connection(("127.0.0.1", self._amqp), timeout=1.0):
            return bool(self.ask("GET", "overview"))
        return False

    @property
    def running(self) -> bool:
        return self.pid != 0

    def stop(self) -> None:
        """In good order."""
        if self._process is not None:
            os.kill(self.pid, signal.SIGTERM)
            self._until(lambda: not _listens(self._amqp) and not _lives(self.pid), STOP_SECS, "did not stop")
            self.kill()

    def kill(self) -> None:
        """What a power cut is to a process."""
        process, self._process, self.pid = self._process, None, 0
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=STOP_SECS)
            self._until(lambda: not self.processes(), STOP_SECS, "did not die")

    def processes(self) -> dict[int, str]:
        """What lives of it, by name: also what has left the group."""
        return living(f"RABBITMQ_NODENAME={self._node}")

    def forget(self) -> None:
        """Its disk is lost."""
        shutil.rmtree(self._folder / "data")

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _until(self, condition: Callable[[], bool], within: float, failing: str) -> None:
        deadline = time.monotonic() + within
        for pause in pauses(0.02):
            if condition():
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"the broker {failing} within {within:g} s:\n{self.log[-4000:]}")
            time.sleep(pause)

    # --- what an operator does ----------------------------------------------------------------------------------

    def new_vhost(self) -> str:
        """The URL of one that nobody else has."""
        return self.add_vhost(f"t{secrets.token_hex(4)}")

    def add_vhost(self, name: str) -> str:
        self.ask("PUT", f"vhosts/{name}", {})
        self.ask("PUT", f"permissions/{name}/{_USER}", _OPEN)
        return self.url_of(name)

    def remove_vhost(self, url: str) -> None:
        """If it is there. Queues cost time as long as they are; with many of them it goes on when we wait no more."""
        with suppress(HTTPError, TimeoutError):
            self.ask("DELETE", f"vhosts/{quote(vhost_of(url), safe='')}")

    def add_user(
        self, name: str, password: str, *, url: str, configure: str = "", write: str = "", read: str = ""
    ) -> str:
        """Somebody with these rights in the vhost of `url`; the URL under which they come."""
        vhost = vhost_of(url)
        self.ask("PUT", f"users/{quote(name, safe='')}", {"password": password, "tags": ""})
        rights = {"configure": configure, "write": write, "read": read}
        self.ask("PUT", f"permissions/{quote(vhost, safe='')}/{quote(name, safe='')}", rights)
        return self.url_of(vhost, name, password)

    def limit_topics(self, name: str, *, url: str, exchange: str, write: str = ".*", read: str = ".*") -> None:
        """Somebody may use no other keys on that exchange."""
        rights = {"exchange": exchange, "write": write, "read": read}
        self.ask("PUT", f"topic-permissions/{quote(vhost_of(url), safe='')}/{quote(name, safe='')}", rights)

    def queues(self, url: str) -> list[dict[str, Any]]:
        return list(self.ask("GET", f"queues/{quote(vhost_of(url), safe='')}"))

    def delete_queue(self, url: str, name: str) -> None:
        self.ask("DELETE", f"queues/{quote(vhost_of(url), safe='')}/{quote(name, safe='')}")

    def close_connections_of(self, pid: int) -> None:
        """By force, once it is known which they are."""
        self._close_connections(lambda one: one.get("client_properties", {}).get("pid") == pid, f"of {pid}")

    def close_connections_in(self, url: str) -> None:
        vhost = vhost_of(url)
        self._close_connections(lambda one: one.get("vhost") == vhost, f"in {vhost}")

    def _close_connections(self, chosen: Callable[[Mapping[str, Any]], bool], whose: str) -> None:
        found: list[str] = []

        def known() -> bool:
            found[:] = [one["name"] for one in self.ask("GET", "connections") if chosen(one)]
            return bool(found)

        self._until(known, KNOWN_SECS, f"knows no connection {whose}")
        for name in found:
            with suppress(HTTPError):  # It has gone meanwhile.
                self.ask("DELETE", f"connections/{quote(name, safe='')}")

    def alarm(self, on: bool) -> None:
        """Short of memory, so that it takes nothing from publishers; or no longer."""
        self.control("set_vm_memory_high_watermark", "absolute", "1000" if on else "4000000000")

    def control(self, *arguments: str) -> str:
        if not self.running:  # It would start an epmd, and that stays.
            raise RuntimeError(f"{' '.join(arguments)}: the broker does not run")
        command = [str(_BIN / "rabbitmqctl"), "--node", self._node, *arguments]
        done = subprocess.run(
            command,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=CONTROL_SECS,
            check=False,
            cwd=self._folder,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        request = Request(
            f"{self.management}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": "Basic " + b64encode(f"{_USER}:{_USER}".encode()).decode(),
                "Content-Type": "application/json",
            },
        )
        with urlopen(request, timeout=30.0) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def is_installed() -> bool:
    return (_BIN / "rabbitmq-server").exists()


def vhost_of(url: str) -> str:
    return unquote(urlsplit(url).path.removeprefix("/")) or "/"


def free_ports(count: int) -> list[int]:
    """Free now, and not given to anybody else in this run of the tests, who perhaps has not bound them yet. Below those
    that systems give to outgoing connections (from 32768 on, or from 49152), or such a connection could take one."""
    found: list[int] = []
    while len(found) < count:
        port = next(_PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def _own_ports() -> Iterator[int]:
    """All of this process, one of those that run the tests, beginning anywhere, so that other runs rarely meet it."""
    first = _LOWEST_PORT + _PORTS_EACH * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw-1")[2:]) % 15)
    offset = random.SystemRandom().randrange(_PORTS_EACH)
    return (first + (offset + n) % _PORTS_EACH for n in itertools.count())


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


def _lives(pid: int) -> bool:
    try:
        return not re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return False


def living(mark: str) -> dict[int, str]:
    """The processes of this environment. One that has ended and was not waited for has none."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # It has ended meanwhile, or is somebody else's.
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "comm").read_text().strip()
    return found


_PORTS = _own_ports()
