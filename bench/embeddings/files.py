"""Embeddings that anybody made: ``.npz`` and ``.safetensors`` files and folders of shards, read without running them.

Arrays ``query`` [Q, D], ``gallery`` [G, D], ``query_labels`` [Q], ``gallery_labels`` [G]. Optional are
``query_clusters`` [Q], ``query_groups`` [Q] and ``gallery_groups`` [G] (``bench.embeddings.arrays``), and
``query_paths`` [Q] and ``gallery_paths`` [G] as text (in ``.safetensors``, which holds numbers alone, metadata entries
of these names with one path a line).
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.embeddings.arrays import Embeddings, as_labels, as_vectors
from bench.embeddings.memmap import MANIFEST, SIDES, ShardWriter, open_side
from bench.errors import DataError, MemoryExhaustedError, UsageError

VECTORS = ("query", "gallery")
LABELS = ("query_labels", "gallery_labels")
MARKS = ("query_clusters", "query_groups", "gallery_groups")  # optional
PATHS = ("query_paths", "gallery_paths")
CONTRACT = "an embeddings file holds query, gallery, query_labels and gallery_labels"

Array = npt.NDArray[Any]
Texts = tuple[str, ...]


@dataclass(frozen=True)
class EmbeddingFile:
    """What a file holds: the embeddings, and the path of each row where the file tells."""

    embeddings: Embeddings
    query_paths: Texts | None = None
    gallery_paths: Texts | None = None


def read_embeddings(path: Path) -> EmbeddingFile:
    """Read an embeddings file; which of the two formats it has is seen from its content, not from its name.

    A folder of shards (``memmap``) is read as a whole; ``open_shards`` leaves its photos on the disk.
    Numbers of any width are taken for vectors (integers and booleans too, for binary codes) and become float32.

    Raises DataError, one sentence that names the array, for a file that is missing or of neither format, a missing or
    pickled array, text or complex numbers where vectors should be, labels that are no integers, counts that do not
    match, an empty side, different widths, NaN or infinite values; MemoryExhaustedError for arrays too large for this
    machine (or whose damaged header says so).
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
    """SHA-256 of a file of embeddings, or of a folder's JSON, which holds those of its files: 64 hex digits."""
    with (path / MANIFEST if path.is_dir() else path).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _read_folder(folder: Path) -> EmbeddingFile:
    """Both sides of a folder of ``memmap``, in memory."""
    query, gallery = (open_side(folder, side) for side in SIDES)
    (queries, _), (photos, _) = query.shape, gallery.shape
    embeddings = Embeddings(
        query.vectors(0, queries), gallery.vectors(0, photos), query.labels(0, queries), gallery.labels(0, photos)
    )
    return EmbeddingFile(embeddings, query.paths(), gallery.paths())


def _checked(path: Path, head: bytes) -> EmbeddingFile:
    if zipfile.is_zipfile(path):
        arrays, paths = _read_npz(path)
    elif head[8:9] == b"{":  # eight bytes of length, then JSON
        arrays, paths = _read_safetensors(path)
    else:
        raise DataError(f"Embeddings file {path} is neither .npz nor .safetensors: write it with numpy.savez.")
    for name in (*VECTORS, *LABELS):
        if name not in arrays:
            known = ", ".join(sorted(arrays)) or "nothing"
            raise DataError(f"Embeddings file {path} has no array {name!r} (it has {known}): {CONTRACT}.")
    query, gallery = (as_vectors(name, arrays[name]) for name in VECTORS)
    query_labels, gallery_labels = (as_labels(name, arrays[name]) for name in LABELS)
    marks = {name: as_labels(name, arrays[name]) for name in MARKS if name in arrays}
    embeddings = Embeddings(query, gallery, query_labels, gallery_labels, **marks)
    for name, rows in (("query_paths", len(query)), ("gallery_paths", len(gallery))):
        if name in paths and len(paths[name]) != rows:
            side = name.removesuffix("_paths")
            raise DataError(f"Array {name!r} has {len(paths[name])} entries, but {side!r} has {rows} rows.")
    return EmbeddingFile(embeddings, paths.get("query_paths"), paths.get("gallery_paths"))


def _read_npz(path: Path) -> tuple[dict[str, Array], dict[str, Texts]]:
    arrays: dict[str, Array] = {}
    name = ""
    try:
        # allow_pickle=False: a pickled member could run anything; numpy then refuses it with ValueError.
        with np.load(path, allow_pickle=False) as file:
            for name in (each for each in (*VECTORS, *LABELS, *MARKS, *PATHS) if each in file.files):
                arrays[name] = _array(path, name, file[name])
    except ValueError as error:
        if "allow_pickle" in str(error) or "pickle" in str(error):
            raise DataError(
                f"Array {name!r} of {path} holds pickled objects, which are never loaded: save plain numbers "
                "(and paths as text of fixed width)."
            ) from error
        raise DataError(f"Array {name!r} of {path} is damaged ({error}).") from error
    except (OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"Embeddings file {path} is damaged ({error}).") from error
    paths = {each: _texts(each, arrays.pop(each)) for each in PATHS if each in arrays}
    return arrays, paths


def _array(path: Path, name: str, member: Any) -> Array:
    if not isinstance(member, np.ndarray):  # numpy hands out the bytes of what is no array
        raise DataError(f"Array {name!r} of {path} is no array in numpy's format: write the file with numpy.savez.")
    return member


def _read_safetensors(path: Path) -> tuple[dict[str, Array], dict[str, Texts]]:
    from safetensors import SafetensorError, safe_open

    arrays: dict[str, Array] = {}
    name = ""
    try:
        with safe_open(path, framework="numpy") as file:
            known = set(file.keys())
            for name in (each for each in (*VECTORS, *LABELS, *MARKS) if each in known):
                arrays[name] = file.get_tensor(name)
            metadata: Mapping[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise DataError(f"Embeddings file {path} is damaged ({error}).") from error
    except (TypeError, KeyError, AttributeError) as error:  # a number format that numpy has not, such as bfloat16
        raise DataError(f"Array {name!r} of {path} has numbers that numpy cannot hold: save float32.") from error
    return arrays, {each: tuple(metadata[each].splitlines()) for each in PATHS if each in metadata}


def _texts(name: str, array: Array) -> Texts:
    if array.dtype.kind != "U" or array.ndim != 1:
        raise DataError(f"Array {name!r} holds {array.dtype} {array.shape}: paths are text, one for each row.")
    return tuple(array.tolist())


def write_shards(folder: Path, content: EmbeddingFile) -> None:
    """Write the embeddings of a file as shards; raises UsageError for a file with clusters or groups."""
    embeddings = content.embeddings
    if embeddings.query_groups is not None or embeddings.query_clusters is not None:
        raise UsageError("Shards hold labels alone, and the file has clusters or groups: leave --to-shards out.")
    with ShardWriter(folder) as writer:
        writer.add("query", embeddings.query, embeddings.query_labels, content.query_paths)
        writer.add("gallery", embeddings.gallery, embeddings.gallery_labels, content.gallery_paths)
