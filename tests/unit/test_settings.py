"""Settings that cannot be are refused with a sentence that says what to do."""

from __future__ import annotations

import pytest

from shared.settings import load_settings
from voxloom.errors import Misconfigured


def test_a_lease_that_one_late_heartbeat_would_end_is_refused() -> None:
    with pytest.raises(Misconfigured, match=r"`lease` \(1 s\) has to be at least twice `heartbeat` \(1 s\)"):
        load_settings(heartbeat=1.0, lease=1.0)


def test_a_heartbeat_that_is_slower_than_the_lease_allows_is_refused() -> None:
    with pytest.raises(Misconfigured, match="lease"):
        load_settings(heartbeat=10.0)


def test_a_value_of_the_wrong_kind_is_named_with_its_setting() -> None:
    with pytest.raises(Misconfigured, match=r"The setting `heartbeat` is wrong.*VOXLOOM_HEARTBEAT"):
        load_settings(heartbeat="often")
