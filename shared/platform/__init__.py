"""What the services stand on, as the settings have it: embedded, or a broker and a store that many machines share."""

from __future__ import annotations

from shared.bus.base import Bus
from shared.bus.local import LocalBus
from shared.bus.outside import Outside
from shared.objects.base import ObjectStore
from shared.objects.local import LocalObjectStore
from shared.room import Room
from shared.settings import Settings
from voxloom.errors import Misconfigured

_MISSING = "A broker or a store of other machines needs further libraries: pip install 'voxloom[cluster]'."


def make_bus(settings: Settings) -> Bus:
    """Not open yet. Raises Misconfigured."""
    hours, size = settings.stream_hours, settings.stream_bytes
    if not settings.broker:
        return LocalBus(settings.data / "bus", stream_hours=hours, stream_bytes=size)
    try:
        from shared.bus.rabbit import RabbitBus
    except ModuleNotFoundError as error:
        raise Misconfigured(_MISSING) from error
    return RabbitBus(settings.broker.get_secret_value(), stream_hours=hours, stream_bytes=size)


def make_outside(settings: Settings) -> Outside | None:
    """Not open yet; None where nobody outside is spoken to. Raises Misconfigured."""
    if not settings.outside:
        return None
    try:
        from shared.bus.amqp.outside import RabbitOutside
    except ModuleNotFoundError as error:
        raise Misconfigured(_MISSING) from error
    return RabbitOutside(settings.outside.get_secret_value())


def make_room(settings: Settings) -> Room:
    """Not open yet. Where broker and store are others', only what is under way lies on this machine."""
    return Room(
        settings.data,
        low_water=settings.low_water_bytes,
        reserve=settings.reserve_bytes,
        refuses=not (settings.broker and settings.store),
    )


def make_store(settings: Settings) -> ObjectStore:
    """Not open yet. Raises Misconfigured."""
    if not settings.store:
        return LocalObjectStore(settings.data / "objects")
    try:
        from shared.objects.s3 import S3ObjectStore, S3Place
    except ModuleNotFoundError as error:
        raise Misconfigured(_MISSING) from error
    return S3ObjectStore(S3Place.from_url(settings.store), settings.data, cache_bytes=settings.cache_bytes)
