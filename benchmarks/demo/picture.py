"""What went in beside what came out, as one picture."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from voxloom.imagefiles import Array

TILE = 288  # pixels; the longer side of one slice in the picture
GAP = 8
CAPTION = 24
PAPER = (255, 255, 255)
INK = (32, 32, 32)
MARK = np.array([255.0, 64.0, 32.0])


def side_by_side(columns: dict[str, Array], marked: tuple[Array, Array], slices: list[int]) -> Image.Image:
    """One row per slice in `slices`, one column per stack in `columns` (caption: stack of (N, H, W)).

    The last column is `marked`: a stack of images with a stack of masks, whose objects are tinted. All stacks have
    the same shape. Grey values are stretched per slice, from the 1st percentile to the 99th.
    """
    images, masks = marked
    rows = [
        [_grey(stack[index]) for stack in columns.values()] + [_tinted(images[index], masks[index])] for index in slices
    ]
    captions = [*columns, "objects found"]
    height, width = _tile_shape(images.shape[1], images.shape[2])
    sheet = Image.new("RGB", (GAP + len(captions) * (width + GAP), CAPTION + len(rows) * (height + GAP)), PAPER)
    for column, caption in enumerate(captions):
        left = GAP + column * (width + GAP)
        ImageDraw.Draw(sheet).text((left, 4), caption, INK, font=ImageFont.load_default(14))
        for row, tiles in enumerate(rows):
            sheet.paste(tiles[column].resize((width, height)), (left, CAPTION + row * (height + GAP)))
    return sheet


def rows_to_show(count: int, at_most: int = 3) -> list[int]:
    """Up to `at_most` slices out of `count`, evenly spread from the first to the last."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, at_most))})


def _tile_shape(height: int, width: int) -> tuple[int, int]:
    scale = TILE / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _stretched(image: Array) -> Array:
    low, high = np.percentile(image, (1, 99))
    stretched: Array = np.clip((image.astype(np.float64) - low) / max(float(high - low), 1e-12), 0, 1) * 255
    return stretched


def _grey(image: Array) -> Image.Image:
    return Image.fromarray(_stretched(image).astype(np.uint8)).convert("RGB")


def _tinted(image: Array, mask: Array) -> Image.Image:
    colour = np.repeat(_stretched(image)[..., np.newaxis], 3, axis=2)
    colour[mask > 0] = 0.5 * colour[mask > 0] + 0.5 * MARK
    return Image.fromarray(colour.astype(np.uint8))
