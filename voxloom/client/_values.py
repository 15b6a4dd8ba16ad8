"""What goes out as JSON."""

from __future__ import annotations

import json
from typing import Any

from voxloom.client._problems import plain
from voxloom.errors import InvalidInput


def as_json(value: Any, what: str) -> str:
    """Numpy's numbers and arrays go as JSON has them. Raises InvalidInput for what cannot."""
    try:
        return json.dumps(value, default=plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{what} cannot be sent as JSON: {error}.") from error
