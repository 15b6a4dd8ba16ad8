"""How the network learns: images become tiles, tiles become batches, batches move the weights.

Nothing in here knows of the server: arrays in, numbers out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .unet import UNet

Pair = tuple[np.ndarray, np.ndarray]
"""An image (H, W) as it came, and its mask (H, W), in which everything above 0 is object."""


@dataclass(frozen=True)
class Settings:
    """The training parameters of pyproject.toml that concern learning."""

    epochs: int = 40
    learning_rate: float = 0.01
    batch_size: int = 4
    tile: int = 64
    validation: float = 0.2
    seed: int = 0

    @classmethod
    def of(cls, args: dict[str, Any]) -> Settings:
        return cls(**{name: args[name] for name in cls.__dataclass_fields__ if name in args})


@dataclass(frozen=True)
class Tiles:
    """(N, 1, S, S) float32 each. `known` is 0 where a tile reaches over the edge of its image: that does not count."""

    images: Tensor
    masks: Tensor
    known: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, which: Tensor) -> Tiles:
        return Tiles(self.images[which], self.masks[which], self.known[which])

    def to(self, device: str) -> Tiles:
        return Tiles(self.images.to(device), self.masks.to(device), self.known.to(device))


class Learning:
    """A network that learns from pairs. Some of their tiles are put aside, and only measured on."""

    def __init__(self, network: UNet, pairs: Sequence[Pair], settings: Settings, device: str = "cpu") -> None:
        self.network, self._settings, self._device = network.to(device), settings, device
        self._draw = torch.Generator().manual_seed(settings.seed)
        tiles = tiles_of(pairs, -(-settings.tile // network.factor) * network.factor)
        order = torch.randperm(len(tiles), generator=self._draw)
        aside = held_out(len(tiles), settings.validation)
        self.tiles, self.aside = tiles[order[aside:]], tiles[order[:aside]]
        if not aside:
            self.aside = self.tiles
        self.steps = -(-len(self.tiles) // settings.batch_size)
        """Per epoch."""
        self._optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, settings.epochs * self.steps)

    def epoch(self) -> Iterator[float]:
        """Sees every tile once, each time turned and lit differently; the loss of every step."""
        order = torch.randperm(len(self.tiles), generator=self._draw)
        for which in order.split(self._settings.batch_size):
            self.network.train()
            yield self._step(varied(self.tiles[which], self._draw).to(self._device))

    def _step(self, batch: Tiles) -> float:
        self._optimizer.zero_grad()
        loss = loss_of(self.network(batch.images), batch)
        loss.backward()
        self._optimizer.step()
        self._schedule.step()
        return float(loss.detach())

    @torch.no_grad()
    def dice(self) -> float:
        """Of all pixels that were put aside, taken together."""
        self.network.eval()
        both = sizes = 0.0
        for which in torch.arange(len(self.aside)).split(self._settings.batch_size):
            batch = self.aside[which].to(self._device)
            found = (self.network(batch.images) > 0) * batch.known
            both += float((found * batch.masks).sum())
            sizes += float(found.sum() + (batch.masks * batch.known).sum())
        return 2 * both / sizes if sizes else 1.0


def held_out(count: int, share: float) -> int:
    """How many tiles are put aside: one at least, and one at least is left; of a single one, none."""
    return min(max(1, round(count * share)), count - 1)


# --- tiles ------------------------------------------------------------------------------------------------


def standardized(image: np.ndarray) -> np.ndarray:
    """float32 with mean 0 and deviation 1, so that neither dtype nor exposure matters; flat images become 0."""
    exact = image.astype(np.float64)
    exact -= exact.mean()
    deviation = exact.std()
    return (exact / deviation if deviation else exact).astype(np.float32)


def padded(image: np.ndarray, multiple: int, value: float | None = None) -> np.ndarray:
    """Sides rounded up to a multiple, at the bottom and on the right: mirrored, or filled with a value."""
    edges = [(0, -side % multiple) for side in image.shape]
    if value is None:
        return np.pad(image, edges, mode="symmetric")
    return np.pad(image, edges, constant_values=value)


def tiles_of(pairs: Sequence[Pair], size: int) -> Tiles:
    """Every pixel of every image is in exactly one tile (size, size)."""
    images = [padded(standardized(image), size) for image, _ in pairs]
    masks = [padded((mask > 0).astype(np.float32), size, 0.0) for _, mask in pairs]
    known = [padded(np.ones(mask.shape, np.float32), size, 0.0) for _, mask in pairs]
    return Tiles(
        *(torch.from_numpy(np.concatenate([cut(one, size) for one in some])) for some in (images, masks, known))
    )


def cut(image: np.ndarray, size: int) -> np.ndarray:
    """(N, 1, size, size), of an image whose sides are multiples of `size`."""
    rows, columns = (range(0, side, size) for side in image.shape)
    return np.stack([image[np.newaxis, y : y + size, x : x + size] for y, x in product(rows, columns)])


def varied(tiles: Tiles, draw: torch.Generator) -> Tiles:
    """Mirrored, turned by a multiple of 90 degrees, brighter or darker, with more or less contrast."""
    turns, mirror = torch.randint(4, (), generator=draw), torch.randint(2, (), generator=draw)
    contrast, light = torch.rand(2, len(tiles), 1, 1, 1, generator=draw) - 0.5

    def moved(these: Tensor) -> Tensor:
        these = these.flip(-1) if mirror else these
        return torch.rot90(these, int(turns), (-2, -1))

    images = moved(tiles.images) * (1 + 0.5 * contrast) + 0.5 * light
    return Tiles(images, moved(tiles.masks), moved(tiles.known))


def loss_of(logits: Tensor, tiles: Tiles) -> Tensor:
    """Cross entropy, which looks at pixels, plus 1 - Dice, which looks at areas."""
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, tiles.masks, tiles.known)
    found = torch.sigmoid(logits) * tiles.known
    both, sizes = (found * tiles.masks).sum(), (found + tiles.masks * tiles.known).sum()
    return entropy + 1 - (2 * both + 1) / (sizes + 1)
