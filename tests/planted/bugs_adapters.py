"""Bugs in the adapters: buses and object stores, embedded and of the cluster."""

from __future__ import annotations

from functools import partial

from tests.planted.bug import Bug

_bus = partial(
    Bug,
    area="bus",
    tests=(
        "tests/unit/test_bus_parts*.py",
        "tests/unit/test_amqp*.py",
        "tests/unit/test_delivery*.py",
        "tests/contract/test_bus_local*.py",
        "tests/contract/test_bus_rabbit*.py",
    ),
)
_store = partial(
    Bug,
    area="store",
    tests=(
        "tests/unit/test_object_*.py",
        "tests/unit/test_node_cache*.py",
        "tests/unit/test_writeback*.py",
        "tests/contract/test_objects_local*.py",
        "tests/contract/test_s3_downloads*.py",
        "tests/contract/test_s3_lost_answers*.py",
        "tests/contract/test_s3_parts*.py",
        "tests/contract/test_s3_cache*.py",
    ),
)

ADAPTERS = (
    _bus(
        name="the-tries-of-a-delivery-are-not-counted",
        file="shared/bus/embedded/queues.py",
        old="yield DelayedRow(identity, self.name, due, delivery.tries + 1, message)",
        new="yield DelayedRow(identity, self.name, due, delivery.tries, message)",
    ),
    _bus(
        name="what-a-failed-saving-was-to-save-is-forgotten",
        file="shared/bus/embedded/saver.py",
        old="            self._steps = [*steps, *self._steps]\n",
        new="",
    ),
    _bus(
        name="a-message-that-goes-on-to-wait-is-not-acknowledged",
        file="shared/bus/amqp/consumers.py",
        old="            await self._publisher.send([letter])\n",
        new="            await self._publisher.send([letter])\n            return\n",
    ),
    _bus(
        name="a-message-that-is-tried-again-has-lost-its-keys",
        file="shared/bus/amqp/codec.py",
        old="_properties({**_fitting(message.headers), KEYS: keys, **told}, persistent=True)",
        new="_properties({**_fitting(message.headers), **told}, persistent=True)",
    ),
    _bus(
        name="the-first-message-that-was-not-confirmed-is-skipped",
        file="shared/bus/amqp/publisher.py",
        old="        return confirmed\n",
        new="        return min(confirmed + 1, len(letters))\n",
    ),
    _store(
        name="a-condition-on-an-object-that-is-gone-holds",
        file="shared/objects/embedded/changes.py",
        old="(row is None or row.etag != condition.etag):",
        new="row is not None and row.etag != condition.etag:",
    ),
    _store(
        name="a-row-that-was-read-before-a-commit-is-kept",
        file="shared/objects/embedded/cache.py",
        old="if mark == self.mark:",
        new="if mark <= self.mark:",
    ),
    _store(
        name="a-range-ends-one-byte-late",
        file="shared/objects/cloud/downloads.py",
        old='f"bytes={start}-{stop - 1}"',
        new='f"bytes={start}-{stop}"',
    ),
    _store(
        name="a-stream-that-is-taken-up-again-asks-for-any-version",
        file="shared/objects/cloud/downloads.py",
        old='_span(self._at, self._stop) | ({"IfMatch": quoted(self._etag)} if self._etag is not None else {})',
        new="_span(self._at, self._stop)",
    ),
    _store(
        name="a-cancelled-upload-leaves-its-parts-behind",
        file="shared/objects/cloud/uploads.py",
        old="        except BaseException:\n",
        new="        except Exception:\n",
    ),
)
