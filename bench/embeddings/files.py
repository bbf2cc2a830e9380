"""Embeddings that any program made: ``.npz`` and ``.safetensors`` files and folders of shards, read without pickle.

Arrays ``query`` [Q, D], ``gallery`` [G, D], ``query_labels`` [Q], ``gallery_labels`` [G]. In place of ``query`` and
``gallery``, ``scores`` [Q, G] may hold a number for each pair; it stays on disk where the file allows it. Optional are
``query_clusters`` [Q], ``query_groups`` [Q], ``gallery_groups`` [G] (``bench.embeddings.arrays``), and ``query_paths``
[Q], ``gallery_paths`` [G] as text. ``.safetensors`` holds numbers alone: there, paths are metadata, one a line.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.embeddings.arrays import Embeddings, ScoreMatrix, as_labels, as_vectors
from bench.embeddings.memmap import MANIFEST, SIDES, ShardWriter, open_shards, open_side
from bench.errors import DataError, MemoryExhaustedError
from bench.io import file_digest

VECTORS = ("query", "gallery")
LABELS = ("query_labels", "gallery_labels")
MARKS = ("query_clusters", "query_groups", "gallery_groups")  # optional
PATHS = ("query_paths", "gallery_paths")
SCORES = "scores"
CONTRACT = "an embeddings file holds query and gallery (or scores), query_labels and gallery_labels"

Arrays = dict[str, npt.NDArray[Any]]
Paths = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class EmbeddingFile:
    """The content of a file: embeddings, and the path of each row if the file has paths."""

    embeddings: Embeddings
    query_paths: tuple[str, ...] | None = None
    gallery_paths: tuple[str, ...] | None = None


def read_file(path: Path) -> EmbeddingFile | ScoreMatrix:
    """Read a file of embeddings or scores in either format, whatever its name, or a whole folder of shards.

    Vectors of any number type become float32, also integers and booleans of binary codes.

    Raises DataError that names the array: a missing file, another format, an array that is missing, damaged, pickled or
    of the wrong type, and what ``Embeddings`` raises; MemoryExhaustedError for arrays that are too large.
    """
    try:
        if path.is_dir():
            return _read_folder(path)
        with path.open("rb") as file:
            head = file.read(16)
        return _checked(path, head)
    except OSError as error:
        raise DataError(f"Embeddings file {path} cannot be read ({error.strerror}).") from error
    except MemoryError as error:
        raise MemoryExhaustedError(f"Embeddings file {path} does not fit into memory ({error}).") from error


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of a folder's JSON, which has the hashes of its files: 64 hex digits."""
    return file_digest(path / MANIFEST if path.is_dir() else path)


def write_shards(folder: Path, content: EmbeddingFile) -> None:
    """Write the embeddings of a file as shards."""
    e = content.embeddings
    with ShardWriter(folder) as writer:
        writer.add(
            "query", e.query, e.query_labels, content.query_paths, clusters=e.query_clusters, groups=e.query_groups
        )
        writer.add("gallery", e.gallery[:], e.gallery_labels[:], content.gallery_paths, groups=e.gallery_groups)


def _read_folder(folder: Path) -> EmbeddingFile:
    found, paths = open_shards(folder), (open_side(folder, side).get("_paths") for side in SIDES)
    embeddings = replace(found, gallery=found.gallery[:], gallery_labels=found.gallery_labels[:])
    return EmbeddingFile(embeddings, *(None if each is None else tuple(each[:].tolist()) for each in paths))


def _checked(path: Path, head: bytes) -> EmbeddingFile | ScoreMatrix:
    if zipfile.is_zipfile(path):
        arrays, paths = _read_npz(path)
    elif head[8:9] == b"{":  # eight bytes of length, then JSON
        arrays, paths = _read_safetensors(path)
    else:
        raise DataError(f"Embeddings file {path} is neither .npz nor .safetensors: write it with numpy.savez.")
    if SCORES in arrays and any(name in arrays for name in VECTORS):
        raise DataError(f"Embeddings file {path} has scores beside query or gallery: give one of them.")
    for name in (*(VECTORS if SCORES not in arrays else ()), *LABELS):
        if name not in arrays:
            known = ", ".join(sorted(arrays)) or "nothing"
            raise DataError(f"Embeddings file {path} has no array {name!r} (it has {known}): {CONTRACT}.")
    labels = [as_labels(name, arrays[name]) for name in LABELS]
    marks = {name: as_labels(name, arrays[name]) for name in MARKS if name in arrays}
    embeddings: Embeddings | ScoreMatrix
    if SCORES in arrays:
        embeddings = ScoreMatrix(arrays[SCORES], *labels, **marks)
    else:
        query, gallery = (as_vectors(name, arrays[name]) for name in VECTORS)
        embeddings = Embeddings(query, gallery, *labels, **marks)
    for name, side in zip(PATHS, labels, strict=True):
        if name in paths and len(paths[name]) != len(side):
            rows = f"{name.removesuffix('_paths')!r} has {len(side)} rows"
            raise DataError(f"Array {name!r} has {len(paths[name])} entries, but {rows}.")
    if isinstance(embeddings, ScoreMatrix):
        return embeddings
    return EmbeddingFile(embeddings, *(paths.get(name) for name in PATHS))


def _read_npz(path: Path) -> tuple[Arrays, Paths]:
    arrays: Arrays = {}
    name = ""
    try:
        # allow_pickle=False: a pickled member could run code; numpy refuses it with ValueError.
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            for name in (each for each in (*VECTORS, SCORES, *LABELS, *MARKS, *PATHS) if each in file.files):
                mapped = _map_member(path, name) if name == SCORES else None
                arrays[name] = file[name] if mapped is None else mapped
                if not isinstance(arrays[name], np.ndarray):  # numpy returns the bytes of any other member
                    raise DataError(
                        f"Array {name!r} of {path} is no array in numpy's format: write it with numpy.savez."
                    )
    except ValueError as error:
        if "pickle" in str(error):
            raise DataError(
                f"Array {name!r} of {path} holds pickled objects, which are never loaded: save plain numbers "
                "(and paths as text of fixed width)."
            ) from error
        raise DataError(f"Array {name!r} of {path} is damaged ({error}).") from error
    except RuntimeError as error:  # encrypted, or a compression method that Python lacks
        raise DataError(f"Array {name!r} of {path} cannot be read ({error}): write it with numpy.savez.") from error
    except (DataError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib, lzma and numpy raise almost anything for damaged data
        raise DataError(f"Embeddings file {path} is damaged ({error}).") from error
    paths: Paths = {}
    for each in PATHS:
        if (column := arrays.pop(each, None)) is None:
            continue
        if column.dtype.kind != "U" or column.ndim != 1:
            raise DataError(f"Array {each!r} holds {column.dtype} {column.shape}: paths are text, one for each row.")
        paths[each] = tuple(column.tolist())
    return arrays, paths


def _map_member(path: Path, name: str) -> npt.NDArray[Any] | None:
    """An array of a ``.npz``, mapped into memory; None if it is compressed or not in C order."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:  # compressed or encrypted
            return None
        file.seek(member.header_offset + 26)  # of the local header: lengths of name and extra field
        file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if fortran or dtype.hasobject:
            return None
        return np.memmap(path, dtype, "r", file.tell(), shape).view(np.ndarray)


def _map_tensor(path: Path, name: str) -> npt.NDArray[Any]:
    """A float tensor of a ``.safetensors``, mapped into memory; raises KeyError for another number type."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        facts = json.loads(file.read(size))[name]
    dtype = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[facts["dtype"]]
    return np.memmap(path, dtype, "r", 8 + size + facts["data_offsets"][0], tuple(facts["shape"])).view(np.ndarray)


def _read_safetensors(path: Path) -> tuple[Arrays, Paths]:
    from safetensors import SafetensorError, safe_open

    arrays: Arrays = {}
    name = ""
    try:
        with safe_open(path, framework="numpy") as file:
            known = set(file.keys())
            for name in (each for each in (*VECTORS, *LABELS, *MARKS) if each in known):
                arrays[name] = file.get_tensor(name)
            if SCORES in known:
                name = SCORES
                arrays[SCORES] = _map_tensor(path, SCORES)
            metadata: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DataError(f"Embeddings file {path} is damaged ({error}).") from error
    except (TypeError, KeyError, AttributeError) as error:  # a number type that numpy lacks, such as bfloat16
        raise DataError(f"Array {name!r} of {path} has numbers that numpy cannot hold: save float32.") from error
    return arrays, {each: tuple(metadata[each].splitlines()) for each in PATHS if each in metadata}
