"""Decode damaged images of every format in a separate process, because a failing decoder may crash it.

Run: python -m tests.datasets.images.fuzz SEED VARIANTS SECONDS FILE

Prints counts of images and of DataErrors as JSON. FILE holds the variant that is being decoded.
"""

from __future__ import annotations

import functools
import io
import json
import random
import struct
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from bench.datasets.images import decode as decode_module
from bench.datasets.images import image_files, user_sketch
from bench.datasets.images.decode import decode
from bench.datasets.images.user_sketch import decode_sketch
from bench.errors import DataError
from bench.reports.gallery import make_thumbnail

SIGNATURE = b"\x89PNG\r\n\x1a\n"
FEWER_PIXELS = 1_000_000  # a damaged header may announce millions, which take their time
ANCILLARY = (b"tRNS", b"PLTE", b"iCCP", b"eXIf", b"sRGB", b"pHYs", b"acTL", b"fcTL", b"fdAT", b"zTXt", b"iTXt", b"abCd")


def samples() -> dict[str, bytes]:
    """A small image of every supported format."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((40, 30))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {
        "PNG grey": _saved(image.convert("L"), "PNG"),
        "PNG RGB": _saved(image, "PNG", exif=exif),
        "PNG RGBA": _saved(image.convert("RGBA"), "PNG"),
        "PNG palette": _saved(image.quantize(16), "PNG", transparency=3),
        "PNG 16-bit": _saved(image.convert("L").convert("I;16"), "PNG"),
        "PNG interlaced": interlaced(np.asarray(image)),
        "PNG animated": _saved(image, "PNG", save_all=True, append_images=[image.rotate(90)]),
        "JPEG": _saved(image, "JPEG", exif=exif),
        "JPEG grey": _saved(image.convert("L"), "JPEG", restart_marker_blocks=2),
        "JPEG progressive": _saved(image, "JPEG", progressive=True),
        "JPEG CMYK": _saved(image.convert("CMYK"), "JPEG"),
        "WebP": _saved(image, "WEBP"),
        "WebP lossless": _saved(image.convert("RGBA"), "WEBP", lossless=True),
        "GIF": _saved(image, "GIF", save_all=True, append_images=[image.rotate(90)]),
        "BMP": _saved(image, "BMP"),
        "BMP palette": _saved(image.quantize(16), "BMP"),
        "TIFF": _saved(image, "TIFF"),
        "TIFF 16-bit": _saved(image.convert("L").convert("I;16"), "TIFF"),
        "TIFF integers": _saved(image.convert("I"), "TIFF"),
        "TIFF floating point": _saved(image.convert("F"), "TIFF"),
        "AVIF": _saved(image, "AVIF"),
        "JPEG 2000": _saved(image, "JPEG2000"),
        "PPM": _saved(image, "PPM"),
    }
    found |= {f"TIFF {name}": _saved(image, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg")}
    return found


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG with its right CRC."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Names and bodies of the chunks of a PNG."""
    found, place = [], len(SIGNATURE)
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        found.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += length + 12
    return found


def interlaced(pixels: np.ndarray) -> bytes:
    """RGB uint8 [height, width, 3] as a PNG of seven passes, which Pillow does not write."""
    height, width, _ = pixels.shape
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = [
        b"\0" + row.tobytes() for top, left, down, right in passes for row in pixels[top::down, left::right] if row.size
    ]
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 1)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return SIGNATURE + b"".join(chunk(*part) for part in parts)


def damaged(data: bytes, draw: random.Random) -> bytes:
    """``data`` with bits flipped, cut, zeroed, bytes lost or doubled, or chunks changed with a right CRC."""
    changed, place = bytearray(data), draw.randrange(len(data))
    end = place + draw.randrange(1, 60)
    ways = ["flip", "cut", "zeros", "zero tail", "lost", "doubled", "number"]
    ways += ["chunks"] * 4 if data.startswith(SIGNATURE) else []
    match draw.choice(ways):
        case "flip":
            for _ in range(draw.randint(1, 3)):
                changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        case "cut":
            del changed[place:]
        case "zeros":
            changed[place:end] = bytes(len(changed[place:end]))
        case "zero tail":
            changed[place:] = bytes(len(changed[place:]))
        case "lost":
            del changed[place:end]
        case "doubled":
            changed[place:place] = changed[place:end]
        case "number":
            changed[place : place + 4] = draw.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\0\0\xff\xff"))
        case "chunks":
            return _with_other_chunks(data, draw)
    return bytes(changed)


def _with_other_chunks(data: bytes, draw: random.Random) -> bytes:
    parts = chunks(data)
    place = draw.randrange(len(parts))
    name, body = parts[place]
    content = bytearray(body)
    match draw.choice(("flip", "flip", "short", "zeros", "lost", "doubled", "moved", "new", "renamed", "stream")):
        case "flip" if body:
            content[draw.randrange(len(body))] ^= 1 << draw.randrange(8)
        case "short" if body:
            del content[draw.randrange(len(body)) :]
        case "zeros" if body:
            start = draw.randrange(len(body))
            content[start:] = bytes(len(body) - start)
        case "lost":
            del parts[place]
            return SIGNATURE + b"".join(chunk(*part) for part in parts)
        case "doubled":
            parts.insert(draw.randrange(len(parts)), (name, body))
        case "moved":
            parts.insert(draw.randrange(len(parts)), parts.pop(place))
            return SIGNATURE + b"".join(chunk(*part) for part in parts)
        case "new":
            parts.insert(draw.randrange(len(parts)), (draw.choice(ANCILLARY), draw.randbytes(draw.randrange(30))))
            return SIGNATURE + b"".join(chunk(*part) for part in parts)
        case "renamed":
            name = draw.choice((*ANCILLARY, b"IDAT", b"IEND"))
        case "stream":  # a sound zlib stream of the wrong rows
            content = bytearray(zlib.compress(draw.randbytes(draw.randrange(5000))))
    parts[place] = (name, bytes(content))
    return SIGNATURE + b"".join(chunk(*part) for part in parts)


def main(seed: int, variants: int, seconds: float, file: Path) -> None:
    """Decode and print; an exception other than DataError ends it."""
    for module in (decode_module, user_sketch, image_files):
        module.MAX_PIXELS = FEWER_PIXELS  # type: ignore[attr-defined]
    draw, counts, kinds = random.Random(seed), Counter[str](), samples()
    for kind, data in kinds.items():
        assert decode(data, kind).shape == (3, 30, 40), kind
    ways = (("decode", decode), ("sketch", functools.partial(decode_sketch, size=32)), ("thumbnail", make_thumbnail))
    names, end = list(kinds), time.process_time() + seconds
    for number in range(variants):
        if time.process_time() > end:
            break
        kind = names[number % len(names)]
        data = damaged(kinds[kind], draw)
        file.write_bytes(data)
        way, decoder = ways[number // len(names) % len(ways)]
        try:
            decoder(data, "x")
        except DataError:
            counts[f"{way} {kind} refused"] += 1
        else:
            counts[f"{way} {kind} decoded"] += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
