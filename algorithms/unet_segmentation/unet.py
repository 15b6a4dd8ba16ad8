"""A small U-Net, and how its weights become bytes and come back.

O. Ronneberger, P. Fischer and T. Brox, "U-Net: Convolutional networks for biomedical image segmentation", MICCAI 2015,
LNCS 9351, 234-241; here with padded convolutions, so that the mask is as large as the image, and with group
normalisation (Y. Wu and K. He, ECCV 2018), which small batches do not disturb.
"""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

UNTRAINED = b"untrained"
"""What an asset that holds no weights yet begins with."""
_GROUPS = 4
"""Channels are normalised in so many groups, where their number allows."""


class UNet(nn.Module):
    """(B, 1, H, W) float32 to logits (B, 1, H, W). H and W must be multiples of `factor`."""

    def __init__(self, width: int = 8, depth: int = 3) -> None:
        super().__init__()
        self.width, self.depth = width, depth
        sizes = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList([_block(before, after) for before, after in pairwise([1, *sizes])])
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * size, size, 2, stride=2) for size in sizes[:-1]])
        self.join = nn.ModuleList([_block(2 * size, size) for size in sizes[:-1]])
        self.last = nn.Conv2d(width, 1, 1)

    @property
    def factor(self) -> int:
        """Images are halved `depth` times, so their sides are multiples of this."""
        return 1 << self.depth

    def forward(self, x: Tensor) -> Tensor:
        levels = []
        for number, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if number else x)
            levels.append(x)
        levels.pop()
        for up, join in zip(reversed(self.up), reversed(self.join), strict=True):
            x = join(torch.cat([levels.pop(), up(x)], dim=1))
        logits: Tensor = self.last(x)
        return logits


def _block(before: int, after: int) -> nn.Sequential:
    groups = _GROUPS if after % _GROUPS == 0 else 1
    layers: list[nn.Module] = []
    for size in (before, after):
        layers += [nn.Conv2d(size, after, 3, padding=1, bias=False), nn.GroupNorm(groups, after), nn.ReLU()]
    return nn.Sequential(*layers)


def untrained(width: int = 8, depth: int = 3, seed: int = 0) -> UNet:
    """The same weights for the same seed, whatever else draws random numbers in this process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(width, depth)


def to_bytes(network: UNet) -> bytes:
    """Shape and weights, for `from_bytes` on any device."""
    buffer = io.BytesIO()
    weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    torch.save({"width": network.width, "depth": network.depth, "weights": weights}, buffer)
    return buffer.getvalue()


def from_bytes(content: bytes) -> UNet | None:
    """On the processor; None where there are no weights yet. Raises ValueError for anything but `to_bytes`' bytes."""
    if content.startswith(UNTRAINED):
        return None
    try:
        # weights_only: tensors and plain values, never code.
        return _rebuilt(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except Exception as error:  # torch.load promises no particular ones
        raise ValueError(
            f"The weights cannot be read ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}): "
            "give bytes that a training of this algorithm has saved."
        ) from error


def _rebuilt(stored: dict[str, Any]) -> UNet:
    network = UNet(int(stored["width"]), int(stored["depth"]))
    network.load_state_dict(stored["weights"])
    return network
