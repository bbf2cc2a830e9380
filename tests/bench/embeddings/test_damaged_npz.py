"""A damaged or unusual ``.npz`` file gives one sentence; no exception of zipfile, zlib, lzma or numpy passes."""

from __future__ import annotations

import io
import random
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bench.embeddings.files import read_file
from bench.errors import BenchError, DataError
from bench.methods.modules.class_tables import read_class_table
from tests.bench.embeddings.test_files import arrays

SEED, SECONDS = 1, 3.0
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
DEFLATE64, ENCRYPTED = 9, 1


def packed(method: int, **members: np.ndarray) -> bytes:
    """An ``.npz`` file with one compression method."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, array in members.items():
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{name}.npy", content.getvalue())
    return file.getvalue()


def with_header_field(data: bytes, local: int, central: int, value: int) -> bytes:
    """The archive with a 16-bit field of every local and every central header set to ``value``."""
    changed = bytearray(data)
    for signature, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        place = data.find(signature)
        while place >= 0:
            struct.pack_into("<H", changed, place + offset, value)
            place = data.find(signature, place + 1)
    return bytes(changed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((8, 10, DEFLATE64), "compression method is not supported"),
        ((6, 8, ENCRYPTED), "is encrypted"),
    ],
)
def test_what_python_cannot_unpack(change: tuple[int, int, int], message: str, tmp_path: Path) -> None:
    path = tmp_path / "e.npz"
    path.write_bytes(with_header_field(packed(zipfile.ZIP_DEFLATED, **arrays()), *change))
    with pytest.raises(DataError, match=message):
        read_file(path)
    path.write_bytes(with_header_field(packed(zipfile.ZIP_DEFLATED, table=np.zeros((2, 3))), *change))
    with pytest.raises(DataError, match=message):
        read_class_table(path, ("a", "b"), 3)


def test_damage_of_any_kind_is_reported(tmp_path: Path) -> None:
    draw, path = random.Random(SEED), tmp_path / "e.npz"
    whole = [packed(method, **arrays(), table=np.zeros((2, 3))) for method in METHODS]
    refused, end = 0, time.monotonic() + SECONDS
    for number in range(2000):
        changed = bytearray(whole[number % len(whole)])
        place = draw.randrange(len(changed))
        match draw.choice(("flip", "flip", "cut", "zeros")):
            case "flip":
                changed[place] ^= 1 << draw.randrange(8)
            case "cut":
                del changed[place : place + draw.randrange(1, 40)]
            case "zeros":
                changed[place : place + 20] = bytes(len(changed[place : place + 20]))
        path.write_bytes(changed)
        for read in (lambda: read_file(path), lambda: read_class_table(path, ("a", "b"), 3)):
            try:
                read()
            except BenchError:
                refused += 1
        if time.monotonic() > end:
            break
    assert refused > 100
