"""RabbitMQ over TLS, as a lab has it: an authority of its own, and certificates that it has signed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services import checks
from shared.bus.rabbit import RabbitBus
from tests.brokers import Broker, vhost_of
from tests.certificates import authority_in, certified
from tests.contract.bus_tools import Inbox, StreamInbox
from tests.contract.test_bus_rabbit import QUEUE, uploaded
from voxloom.errors import Misconfigured, VoxloomError


@pytest.fixture(scope="module")
def vhost(broker: Broker) -> Iterator[str]:
    """Its name."""
    yield vhost_of(url := broker.new_vhost())
    broker.remove_vhost(url)


async def refusal(url: str) -> VoxloomError:
    with pytest.raises(VoxloomError) as told:
        await RabbitBus(url).open()
    assert "guest:guest" not in str(told.value)
    return told.value


async def say_and_hear(url: str) -> None:
    bus, inbox, stream = RabbitBus(url), Inbox(), StreamInbox("default")
    await bus.open()
    try:
        await bus.consume(QUEUE, inbox)
        await bus.follow(stream.take)
        await bus.publish(uploaded("a"))
        await inbox.has("a")
        await stream.has("a")
        assert await bus.healthy()
    finally:
        await bus.close()


async def test_all_goes_over_tls_with_the_authority_that_the_address_names(broker: Broker, vhost: str) -> None:
    await say_and_hear(broker.secure_url_of(vhost, cafile=broker.authority.certificate))


async def test_a_service_may_have_a_certificate_of_its_own(broker: Broker, vhost: str, tmp_path: Path) -> None:
    own = certified(tmp_path, "worker", broker.authority)
    known = {"cafile": broker.authority.certificate, "certfile": own.certificate, "keyfile": own.key}
    await say_and_hear(broker.secure_url_of(vhost, **known))


async def test_the_certificate_of_a_stranger_is_refused(broker: Broker, vhost: str, tmp_path: Path) -> None:
    own = certified(tmp_path, "worker", authority_in(tmp_path))
    known = {"cafile": broker.authority.certificate, "certfile": own.certificate, "keyfile": own.key}
    error = await refusal(broker.secure_url_of(vhost, **known))
    assert "certfile" in error.message  # It tells, or just hangs up.


async def test_a_broker_that_another_authority_vouches_for_is_not_trusted(
    broker: Broker, vhost: str, tmp_path: Path
) -> None:
    error = await refusal(broker.secure_url_of(vhost, cafile=authority_in(tmp_path).certificate))
    assert isinstance(error, Misconfigured)
    assert "cafile" in error.message


async def test_a_broker_whose_certificate_is_for_another_name_is_not_trusted(broker: Broker, vhost: str) -> None:
    url = broker.secure_url_of(vhost, cafile=broker.authority.certificate).replace("localhost", "127.0.0.1")
    error = await refusal(url)
    assert isinstance(error, Misconfigured)
    assert "127.0.0.1" in error.message


async def test_who_speaks_plainly_to_a_port_with_tls_is_told(broker: Broker, vhost: str) -> None:
    port = urlsplit(broker.secure_url_of(vhost)).port
    error = await refusal(f"amqp://guest:guest@localhost:{port}/{vhost}")
    assert "amqps" in error.message


@pytest.mark.parametrize("option", ["cafile", "certfile", "keyfile"])
async def test_a_file_that_is_not_there_is_named(broker: Broker, vhost: str, tmp_path: Path, option: str) -> None:
    known = {"cafile": broker.authority.certificate, option: tmp_path / "nowhere.pem"}
    error = await refusal(broker.secure_url_of(vhost, **known))
    assert isinstance(error, Misconfigured)
    assert f"{option}={tmp_path / 'nowhere.pem'}" in error.message


async def test_a_file_that_holds_no_certificate_is_told(broker: Broker, vhost: str, tmp_path: Path) -> None:
    (tmp_path / "nonsense.pem").write_text("no certificate")
    error = await refusal(broker.secure_url_of(vhost, cafile=tmp_path / "nonsense.pem"))
    assert isinstance(error, Misconfigured)
    assert "cafile" in error.message


def test_the_doctor_looks_at_a_broker_over_tls(broker: Broker, vhost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXLOOM_BROKER", broker.secure_url_of(vhost, cafile=broker.authority.certificate))
    (seen,) = checks.platform()
    assert seen.next_step is None
    assert seen.seen.startswith("amqps://localhost:")
