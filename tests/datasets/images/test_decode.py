"""Every image format decodes to RGB on white; a broken file gives a DataError with its name."""

from __future__ import annotations

import functools
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import bench.datasets.images.decode
from bench.datasets.images.decode import decode, ink_to_square, to_square
from bench.datasets.images.image_files import MAX_PIXELS, raise_data_error, skip_broken_image, turn_upright
from bench.datasets.images.user_sketch import decode_sketch
from bench.errors import DataError
from bench.reports.gallery import make_thumbnail
from tests.datasets.trees import picture

RED = (255, 0, 0)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def colour_of(data: bytes) -> tuple[int, ...]:
    """The one colour of a plain picture."""
    pixels = decode(data, "plain").flatten(1).unique(dim=1)
    assert pixels.shape == (3, 1)
    return tuple(pixels[:, 0].tolist())


def palette(transparent: bool) -> bytes:
    image = Image.new("P", (5, 4), 1)
    image.putpalette([9, 9, 9, *RED])
    return saved(image, "PNG", **({"transparency": 1} if transparent else {}))


def frames(kind: str) -> bytes:
    first, second = Image.new("RGB", (5, 4), RED), Image.new("RGB", (5, 4), (0, 0, 255))
    return saved(first, kind, save_all=True, append_images=[second], **({"lossless": True} if kind == "WEBP" else {}))


@pytest.mark.parametrize(
    ("data", "colour"),
    [
        pytest.param(saved(Image.new("L", (5, 4), 77), "PNG"), (77, 77, 77), id="grey"),
        pytest.param(saved(Image.new("1", (5, 4), 1), "PNG"), (255, 255, 255), id="one bit"),
        pytest.param(saved(Image.new("I;16", (5, 4), 257 * 100), "PNG"), (100, 100, 100), id="16-bit grey"),
        pytest.param(saved(Image.new("I;16", (5, 4), 257 * 100), "TIFF"), (100, 100, 100), id="16-bit TIFF"),
        pytest.param(saved(Image.new("F", (5, 4), 1.0), "TIFF"), (255, 255, 255), id="floating point"),
        pytest.param(palette(False), RED, id="palette"),
        pytest.param(palette(True), (255, 255, 255), id="palette with a transparent colour"),
        pytest.param(saved(Image.new("RGBA", (5, 4), (255, 0, 0, 51)), "PNG"), (255, 204, 204), id="transparent"),
        pytest.param(saved(Image.new("LA", (5, 4), (0, 0)), "PNG"), (255, 255, 255), id="grey, transparent"),
        pytest.param(saved(Image.new("RGB", (5, 4), RED), "PNG", transparency=RED), (255, 255, 255), id="colour key"),
        pytest.param(frames("GIF"), RED, id="animated GIF: its first frame"),
        pytest.param(frames("WEBP"), RED, id="animated WebP: its first frame"),
        pytest.param(saved(Image.new("RGB", (5, 4), RED), "BMP"), RED, id="BMP"),
    ],
)
def test_every_kind_of_picture_is_rgb_on_white(data: bytes, colour: tuple[int, ...]) -> None:
    assert decode(data, "x").dtype == torch.uint8
    assert decode(data, "x").shape == (3, 4, 5)
    assert colour_of(data) == colour


def tiff(value: float, kind: str, **tags: int) -> bytes:
    """A grey TIFF whose largest value is in one corner and ``value`` everywhere else; numpy type ``kind``."""
    largest = {"f4": 255.0, "<i4": 40_000, "<u4": 2**32 - 1, "<u2": 65_535, "<i2": 32_767}[kind]
    pixels = np.full((4, 5), value, kind)
    pixels[0, 0] = largest
    fields = {256: 5, 257: 4, 258: 8 * pixels.itemsize, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4, 279: pixels.nbytes}
    fields |= {339: {"u": 1, "i": 2, "f": 3}[kind.strip("<")[0]], **{int(tag[1:]): each for tag, each in tags.items()}}
    fields[273] = 8 + 2 + 12 * len(fields) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, each) for tag, each in sorted(fields.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4) + pixels.tobytes()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(tiff(51.0, "f4"), 51, id="floating point of 0 to 255"),
        pytest.param(tiff(float("nan"), "f4"), 0, id="NaN"),
        pytest.param(tiff(257 * 20, "<i4"), 20, id="32-bit integers of 0 to 65535"),
        pytest.param(tiff(2**31, "<u4"), 127, id="unsigned 32-bit integers"),
        pytest.param(tiff(257 * 50, "<u2"), 50, id="16-bit"),
        pytest.param(tiff(257 * 50, "<u2", t262=0), 205, id="16-bit, white is zero"),
        pytest.param(tiff(16_384, "<i2"), 127, id="signed 16-bit"),
    ],
)
def test_grey_of_every_pixel_type_is_scaled_to_8_bits(data: bytes, expected: int) -> None:
    assert decode(data, "a")[:, 1:].unique().tolist() == [expected]


def test_16_bit_colour_keeps_the_high_byte() -> None:
    rows = b"".join(b"\0" + struct.pack(">9H", *[0xC8FF, 0x64FF, 0x0AFF] * 3) for _ in range(2))
    header = struct.pack(">2I5B", 3, 2, 16, 2, 0, 0, 0)
    assert colour_of(png(header, zlib.compress(rows))) == (0xC8, 0x64, 0x0A)


def test_cmyk_is_what_pillow_makes_of_it() -> None:
    data = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    assert max(abs(a - b) for a, b in zip(colour_of(data), RED, strict=True)) <= 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pixels_are_pillows_without_the_fast_decoder_too(kind: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture(kind, (37, 23), mode, seed=1)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode(data, "x").permute(1, 2, 0).numpy(), expected)
    monkeypatch.setattr(bench.datasets.images.decode, "_jpeg_decoder", lambda: None)
    assert np.array_equal(decode(data, "x").permute(1, 2, 0).numpy(), expected)


def png(header: bytes, pixels: bytes) -> bytes:
    """A PNG of these chunks."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def flip_bit(data: bytes) -> bytes:
    """A PNG with one bit flipped in the middle of its compressed pixels."""
    start = data.index(b"IDAT") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big")
    changed = bytearray(data)
    changed[start + length // 2] ^= 1
    return bytes(changed)


def set_crc(data: bytes) -> bytes:
    """A PNG of one IDAT chunk with the CRC that its bytes now have."""
    start = data.index(b"IDAT")
    end = start + 4 + int.from_bytes(data[start - 4 : start], "big")
    return data[:end] + struct.pack(">I", zlib.crc32(data[start:end])) + data[end + 4 :]


def bomb(width: int, height: int) -> bytes:
    return png(struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0), zlib.compress(b"\0" * 1000))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "is an empty file", id="zero bytes"),
        pytest.param(b"<html>not found</html>", "not an image", id="not an image"),
        pytest.param(picture("JPEG", (64, 64))[:-300], "cannot be decoded", id="truncated JPEG"),
        pytest.param(picture("PNG", (64, 64))[:-300], "cannot be decoded", id="truncated PNG"),
        pytest.param(picture("GIF", (64, 64))[:-300], "cannot be decoded", id="truncated GIF"),
        pytest.param(picture("WEBP", (64, 64))[:-300], "cannot be decoded", id="truncated WebP"),
        pytest.param(picture("PNG", (64, 64))[:20], "cannot be decoded", id="half a header"),
        pytest.param(flip_bit(picture("PNG", (64, 64))), "cannot be decoded", id="PNG with a flipped bit"),
        pytest.param(set_crc(flip_bit(picture("PNG", (64, 64)))), "cannot be decoded", id="the same, right CRC"),
        pytest.param(picture("PNG", (64, 64))[:-300] + bytes(300), "cannot be decoded", id="PNG with a tail of zeros"),
        pytest.param(bomb(9000, 9000), f"more than {MAX_PIXELS}", id="more pixels than allowed"),
        pytest.param(bomb(10_000, 10_000), "pixels", id="Pillow warns"),
        pytest.param(bomb(100_000, 100_000), "too many pixels", id="decompression bomb"),
    ],
)
def test_a_broken_file_is_named_with_the_cure(data: bytes, message: str) -> None:
    with pytest.raises(
        DataError, match=r"^Image sketch/a cat/1\.png .*: (replace or|reduce or) remove it\.$"
    ) as caught:
        decode(data, "sketch/a cat/1.png")
    assert message in str(caught.value)


@pytest.mark.parametrize("error", [IndexError("out of range"), zlib.error("Error -3"), struct.error("\n"), TypeError()])
def test_any_exception_of_a_decoder_becomes_one_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: object) -> None:
        raise error

    data = picture("GIF")
    monkeypatch.setattr(Image, "open", fail)
    decoders = (decode, functools.partial(decode_sketch, size=8), make_thumbnail)
    for decoder in decoders:
        with pytest.raises(DataError, match=r"^Image a\.gif cannot be decoded \([^()\n]+\): replace or remove it\.$"):
            decoder(data, "a.gif")
    assert turn_upright(data) is data


def test_every_flipped_bit_in_the_pixels_of_a_png_is_found() -> None:
    data = shot(6, "PNG")  # turning by EXIF must not hide the damage
    start = data.index(b"IDAT") + 4
    for place in range(start, start + int.from_bytes(data[start - 8 : start - 4], "big") + 4):
        changed = bytearray(data)
        changed[place] ^= 1
        for decoder in (decode, functools.partial(decode_sketch, size=8), make_thumbnail):
            with pytest.raises(DataError, match="cannot be decoded"):
                decoder(bytes(changed), "a.png")


def shot(orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.linear_gradient("L").resize((30, 20)), kind, exif=exif)


def test_a_memory_error_passes() -> None:
    for guarded in (raise_data_error("x"), skip_broken_image()):
        with pytest.raises(MemoryError), guarded:
            raise MemoryError


def test_a_picture_is_squeezed_into_the_square_with_antialiasing() -> None:
    stripes = torch.zeros(3, 8, 64, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    small = to_square(stripes, 8)
    assert small.shape == (3, 8, 8)
    assert (small[:, :, 1:-1].int() - 127).abs().max() <= 4  # without antialiasing columns would be 0 or 255
    assert to_square(small, 8) is small


def test_the_box_of_the_ink_worked_by_hand() -> None:
    sketch = torch.full((3, 60, 100), 250, dtype=torch.uint8)
    sketch[:, 30:40, 50:70] = 0
    # Ten pixels of paper around it, the lower and right end exclusive: rows 20 to 48, columns 40 to 78.
    square = ink_to_square(sketch, 78)  # 29 x 39 pixels become 58 x 78 with 10 rows of paper above and below
    assert square.shape == (3, 78, 78)
    dark = (square[0] < 125).nonzero()
    assert dark.min(dim=0).values.tolist() == [10 + 2 * 10, 2 * 10]
    assert dark.max(dim=0).values.tolist() == [10 + 2 * 20 - 1, 2 * 30 - 1]
    assert square[:, :10].unique().tolist() == [250]


@pytest.mark.parametrize("paper", [255, 101])
def test_a_sketch_without_ink_is_taken_whole(paper: int) -> None:
    sketch = torch.full((3, 30, 50), paper, dtype=torch.uint8)
    assert ink_to_square(sketch, 20).unique().tolist() == [paper]


def test_one_dot_at_the_edge_has_a_box() -> None:
    sketch = torch.full((3, 30, 50), 255, dtype=torch.uint8)
    sketch[:, 29, 0] = 100  # a sum of 300 is ink still
    square = ink_to_square(sketch, 22)
    assert square.shape == (3, 22, 22)
    assert (square < 250).any()
