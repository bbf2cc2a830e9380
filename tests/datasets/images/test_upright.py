"""Photos of a camera that was held sideways stand upright."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.datasets.images.decode import decode
from bench.datasets.images.upright import ORIENTATION, upright
from bench.datasets.images.user_sketch import drawing
from bench.errors import DataError
from bench.search.photo_folder import PhotoFolder
from tests.datasets.images.test_decode import bomb


def shot(orientation: int | None, format: str = "JPEG", mode: str = "RGB") -> bytes:
    """40 by 20 pixels, the left half bright."""
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:, :20] = 255
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, format, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(("orientation", "bright"), [(2, "right"), (3, "right"), (6, "top"), (8, "bottom")])
@pytest.mark.parametrize(("format", "mode"), [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA")])
def test_pixels_are_turned_as_the_camera_says(orientation: int, bright: str, format: str, mode: str) -> None:
    image = decode(upright(shot(orientation, format, mode)), "a").float().mean(dim=0)
    halves = {
        "top": image[: len(image) // 2],
        "bottom": image[len(image) // 2 :],
        "right": image[:, image.shape[1] // 2 :],
    }
    assert tuple(image.shape) == ((40, 20) if bright in ("top", "bottom") else (20, 40))
    assert halves[bright].mean() > 240
    assert image.mean() < 140


@pytest.mark.parametrize("content", [shot(None), shot(1), shot(9), b"", b"no picture", shot(6)[:60]])
def test_all_else_is_left_as_it_is(content: bytes) -> None:
    assert upright(content) is content


@pytest.mark.parametrize("side", [9_000, 10_000, 100_000])  # too large, what Pillow warns of, what it refuses
def test_a_huge_picture_is_left_to_the_decoder_to_refuse(side: int) -> None:
    content = bomb(side, side)
    assert upright(content) is content
    with pytest.raises(DataError, match="reduce or remove it"):
        drawing(content, "huge.png", 32)


def test_a_folder_of_photos_gives_them_upright(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(shot(6))
    folder = PhotoFolder(tmp_path)
    assert decode(folder.read(folder.items[0].path), "a").shape == (3, 40, 20)
