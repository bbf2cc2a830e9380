"""Photos are turned by their EXIF orientation."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from bench.datasets.images.decode import decode
from bench.datasets.images.image_files import ORIENTATION, turn_upright
from bench.datasets.images.user_sketch import decode_sketch
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
    image = (
        Image.fromarray(pixels[..., 0] * np.uint16(257)) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    )
    image.save(file, format, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(("orientation", "bright"), [(2, "right"), (3, "right"), (6, "top"), (8, "bottom")])
@pytest.mark.parametrize(
    ("format", "mode"),
    [("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16"), ("TIFF", "F")],
)
def test_pixels_are_turned(orientation: int, bright: str, format: str, mode: str) -> None:
    image = decode(turn_upright(shot(orientation, format, mode)), "a").float().mean(dim=0)
    halves = {
        "top": image[: len(image) // 2],
        "bottom": image[len(image) // 2 :],
        "right": image[:, image.shape[1] // 2 :],
    }
    assert tuple(image.shape) == ((40, 20) if bright in ("top", "bottom") else (20, 40))
    assert halves[bright].mean() > 240
    assert image.mean() < 140


def with_text_resolution(orientation: int, format: str = "JPEG") -> bytes:
    """A photo whose EXIF data hold the resolution as text, a wrong type, and then the orientation."""
    tags = [(0x011A, 2, 4, b"72\0\0"), (ORIENTATION, 3, 1, struct.pack("<HH", orientation, 0))]
    entries = b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in sorted(tags))
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    file = io.BytesIO()
    Image.open(io.BytesIO(shot(None))).save(file, format, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_tag_of_a_wrong_type_does_not_matter(format: str) -> None:
    content = with_text_resolution(6, format)
    with pytest.raises(Exception, match=r"\w"), Image.open(io.BytesIO(content)) as image:
        ImageOps.exif_transpose(image)
    assert decode(turn_upright(content), "a").shape == (3, 40, 20)


def test_unusable_exif_data_count_as_upright() -> None:
    file = io.BytesIO()
    Image.open(io.BytesIO(shot(None))).save(file, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    assert turn_upright(file.getvalue()) == file.getvalue()


@pytest.mark.parametrize("content", [shot(None), shot(1), shot(9), b"", b"no picture", shot(6)[:60]])
def test_other_files_are_unchanged(content: bytes) -> None:
    assert turn_upright(content) is content


@pytest.mark.parametrize("side", [9_000, 10_000, 100_000])  # refused by us, warned of by Pillow, refused by Pillow
def test_a_huge_image_is_unchanged_and_the_decoder_refuses_it(side: int) -> None:
    content = bomb(side, side)
    assert turn_upright(content) is content
    with pytest.raises(DataError, match="reduce or remove it"):
        decode_sketch(content, "huge.png", 32)


def test_a_photo_folder_turns_its_photos(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(shot(6))
    folder = PhotoFolder(tmp_path)
    assert decode(folder.read(folder.items[0].path), "a").shape == (3, 40, 20)


def test_a_photo_folder_visits_each_folder_once(tmp_path: Path) -> None:
    """Two links to a parent folder made 2^40 folders."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "1.jpg").write_bytes(shot(None))
    for name in ("one", "two"):
        (tmp_path / "a" / "b" / name).symlink_to(tmp_path / "a")
    assert [item.path for item in PhotoFolder(tmp_path).items] == ["a/b/1.jpg"]


def test_a_photo_folder_takes_every_suffix_and_reports_ignored_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, format in (("a.jfif", "JPEG"), ("b.avif", "AVIF"), ("c.ppm", "PPM"), ("d.jp2", "JPEG2000")):
        Image.open(io.BytesIO(shot(None))).save(tmp_path / name, format)
    for name in ("notes.txt", "a\nb.png"):
        (tmp_path / name).write_text("no image")
    folder = PhotoFolder(tmp_path)
    assert [item.path for item in folder.items] == ["a.jfif", "b.avif", "c.ppm", "d.jp2"]
    assert "Ignored files that are no image: 2 (a\\nb.png ...)" in caplog.text
    for item in folder.items:
        assert decode(folder.read(item.path), item.path).shape == (3, 20, 40)
