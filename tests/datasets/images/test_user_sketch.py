"""Users' drawings of any kind are normalised to dataset sketches; unusable files give a DataError."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageOps

from bench.datasets.base import DATASETS
from bench.datasets.images.user_sketch import decode_sketch
from bench.errors import DataError
from tests.drawn import png, sketch


def test_ink_on_white_white_on_black_and_transparent_drawings_are_one() -> None:
    plain = decode_sketch(png(sketch().convert("RGB")), "a", 64)
    assert plain.shape == (3, 64, 64)
    for other in (
        sketch(ink="white", paper="black").convert("RGB"),
        ImageOps.invert(sketch().convert("L")),
        sketch(paper=None),
        sketch(ink="white", paper=None),
        sketch().convert("P"),
    ):
        assert (decode_sketch(png(other), "b", 64).int() - plain.int()).abs().max() <= 2


def test_a_small_drawing_fills_its_sheet_and_a_wide_one_keeps_its_shape() -> None:
    small = decode_sketch(png(sketch(800, box=0.2)), "a", 96)
    rows = (small.float().mean(0) < 128).any(dim=1).nonzero().flatten()
    assert int(rows[-1] - rows[0]) > 70
    wide = Image.new("RGB", (600, 100), "white")
    ImageDraw.Draw(wide).rectangle((50, 40, 550, 60), fill="black")
    ink = decode_sketch(png(wide), "b", 96).float().mean(0) < 128
    high, across = ink.any(dim=1).sum(), ink.any(dim=0).sum()
    assert across > 70
    assert high < 10


def test_a_sketch_of_a_dataset_is_left_as_it_is() -> None:
    from bench.datasets.images.loader import load

    emoji = DATASETS.get("emoji")(Path())
    paths = [item.path for item in emoji.split().queries[::40]]
    same = [torch.equal(decode_sketch(emoji.read(path), path, 96), load(emoji, path, 96)) for path in paths]
    assert np.mean(same) > 0.8


def test_a_large_drawing_is_that_of_its_small_copy() -> None:
    for mode, paper in (("L", "white"), ("RGBA", None), ("P", "white")):
        large = sketch(2400, paper=paper).convert(mode)
        small = sketch(2400, paper=paper).resize((400, 400), Image.Resampling.LANCZOS)
        assert (
            decode_sketch(png(large), "a", 64).int() - decode_sketch(png(small), "b", 64).int()
        ).abs().float().mean() < 4


def test_a_photo_of_a_drawing_is_turned_by_its_exif_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # held sideways: a quarter turn to the right is wanted
    file = io.BytesIO()
    sketch().convert("RGB").rotate(90).save(file, "JPEG", quality=95, exif=exif)
    plain = decode_sketch(png(sketch()), "b", 64)
    assert (decode_sketch(file.getvalue(), "a", 64).int() - plain.int()).abs().float().mean() < 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is an empty file"),
        (b"no picture", "not an image"),
        (png(sketch())[:300], "cannot be decoded"),
        (png(Image.new("RGB", (50, 50), "white")), "darker than the paper"),
        (png(Image.new("RGBA", (50, 50))), "every pixel is transparent"),
    ],
)
def test_an_unusable_sketch_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_sketch(content, "mine.png", 64)
