"""Embeddings larger than memory: a folder of plain ``.npy`` files, mapped into memory when they are read.

``gallery-00000.npy``, ``gallery-00001.npy``, ...
    vectors, float32 [rows, width], about 64 MB a file;
``gallery_labels-00000.npy``, ..., and optionally ``gallery_paths-...``, ``gallery_groups-...``
    labels and groups, int64 [rows], and paths, text [rows]. ``query`` has the same files, and ``query_clusters-...``;
``shards.json``
    the width, and the rows and SHA-256 of each file. It is written last: a folder without it is incomplete.
"""

from __future__ import annotations

import hashlib
import io
import json
import operator
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from bench.embeddings.arrays import Embeddings, as_labels, as_vectors, check_numbers, check_side
from bench.errors import DataError, UsageError, check_known
from bench.io import write_whole

Side = Literal["query", "gallery"]
SIDES: tuple[Side, ...] = get_args(Side)
Array = npt.NDArray[Any]
# Ends of file names, after the side, with the number type.
COLUMNS = {"": "<f4", "_labels": "<i8", "_paths": "<U", "_clusters": "<i8", "_groups": "<i8"}
MANIFEST, VERSION = "shards.json", 2
SHARD_BYTES = 64 * 2**20
ROUND = 2048  # rows of a file are a multiple, so that a block of the ranking engine is in one file


class ShardWriter:
    """Writes embeddings into ``folder`` block by block; holds 64 MB of each side in memory.

    Use it as a context manager: the folder is complete when the block ends; its files are removed when it raises.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with ShardWriter(Path(folder)) as writer:
    ...         writer.add("query", np.ones((2, 3)), np.zeros(2, dtype=int))
    ...         writer.add("gallery", np.ones((5, 3)), np.zeros(5, dtype=int))
    ...     sorted(path.name for path in Path(folder).glob("[gs]*"))
    ['gallery-00000.npy', 'gallery_labels-00000.npy', 'shards.json']

    Raises UsageError for a complete folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._width = Path(folder), 0
        self._buffers: dict[Side, dict[str, Array]] = {side: {} for side in SIDES}
        self._held = dict.fromkeys(SIDES, 0)  # rows in the buffers
        self._shards: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        self._written: list[Path] = []
        self._check_new()

    def add(
        self,
        side: Side,
        vectors: npt.ArrayLike,
        labels: npt.ArrayLike,
        paths: Sequence[str] | None = None,
        *,
        clusters: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> None:
        """Append rows: ``vectors`` [rows, width], and for each row a label and optionally a path, cluster and group.

        Raises DataError for arrays that do not fit together or to the rows before, and for NaN and infinity;
        UsageError for an unknown side or a complete folder; StorageError when a file cannot be written.
        """
        self._check_new()
        check_known("There is no side", side, SIDES)
        if side == "gallery" and clusters is not None:
            raise UsageError("Only queries have clusters: leave them out for the gallery.")
        block = as_vectors(side, np.asarray(vectors))
        if not len(block):
            return
        added: dict[str, Array] = {"": block}
        for name, numbers in (("label", labels), ("cluster", clusters), ("group", groups)):
            if numbers is not None:
                column = added[f"_{name}s"] = as_labels(f"{side}_{name}s", np.asarray(numbers))
                check_numbers(side, name, column, len(block))
        check_side(side, block, added["_labels"])
        if paths is not None:
            added["_paths"] = np.array(paths, dtype=object)
        self._width = self._width or block.shape[1]
        rows = max(1, SHARD_BYTES // (4 * self._width))
        rows -= rows % ROUND if rows > ROUND else 0
        buffers = self._buffers[side]
        if not buffers:
            buffers |= {name: np.empty((rows, *each.shape[1:]), each.dtype) for name, each in added.items()}
        if block.shape[1] != self._width or added.keys() != buffers.keys() or len(block) != len(paths or block):
            raise DataError(
                f"Rows of {side!r} need one width ({self._width}), and a path, cluster or group each or none of them."
            )
        done = 0
        while done < len(block):
            held = self._held[side]
            count = min(len(block) - done, rows - held)
            for name, buffer in buffers.items():
                buffer[held : held + count] = added[name][done : done + count]
            self._held[side], done = held + count, done + count
            if held + count == rows:
                self._write_shard(side)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                for side in SIDES:
                    self._write_shard(side)
                facts = {"version": VERSION, "width": self._width, **self._shards}
                self._write(MANIFEST, json.dumps(facts, indent=1).encode())
                self._written.clear()
        finally:
            for path in reversed(self._written):  # the JSON first
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def _check_new(self) -> None:
        if (self.folder / MANIFEST).exists():
            raise UsageError(f"{self.folder / MANIFEST} exists: remove the folder, or choose another one.")

    def _write_shard(self, side: Side) -> None:
        if not (rows := self._held[side]):
            return
        sums = {}
        for name, buffer in self._buffers[side].items():
            file = io.BytesIO()
            np.save(file, buffer[:rows].astype(str) if name == "_paths" else buffer[:rows], allow_pickle=False)
            sums[name] = self._write(f"{side}{name}-{len(self._shards[side]):05}.npy", file.getbuffer())
        self._shards[side].append({"rows": rows, "sha256": sums})
        self._held[side] = 0

    def _write(self, name: str, content: bytes | memoryview) -> str:
        self._written.append(self.folder / name)
        write_whole(self.folder / name, content, "--to-shards")
        return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Shards:
    """One column of one side of a folder; ``files`` are the rows of each file, and its SHA-256.

    Slices read rows, and map only the files that have them: vectors float32 [rows, width], labels and groups int64
    [rows], paths text [rows]. Reading raises DataError for a file that is missing, damaged, or not as the JSON
    declares, and for a negative label.
    """

    folder: Path
    side: Side
    column: str
    width: int
    files: tuple[tuple[int, str], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, and the width of vectors."""
        return (self._ends[-1],) if self.column else (self._ends[-1], self.width)

    def __getitem__(self, part: slice, /) -> Array:
        """Rows of a slice: a view of the mapped file if one file has all of them."""
        begin, end, _ = part.indices(self._ends[-1])
        parts: list[Array] = []
        number = min(bisect_right(self._ends, begin), len(self.files) - 1)
        while begin < end or not parts:
            offset = self._ends[number] - self.files[number][0]
            parts.append(self.map(number)[begin - offset : end - offset])
            begin, number = self._ends[number], number + 1
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.column == "_labels" and len(rows):
            check_numbers(self.side, "label", rows, len(rows))
        return rows

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(rows for rows, _ in self.files))

    def map(self, number: int, deep: bool = False) -> Array:
        """One file, mapped and compared with the JSON; ``deep`` compares its SHA-256, too."""
        path = self.folder / f"{self.side}{self.column}-{number:05}.npy"
        rows, digest = self.files[number]
        kind, shape = COLUMNS[self.column], (rows, *self.shape[1:])
        try:
            array = np.lib.format.open_memmap(path, mode="r")
            if not array.dtype.str.startswith(kind) or array.shape != shape or not array.flags.c_contiguous:
                raise ValueError(f"{array.dtype} {array.shape} in place of {kind} {shape} by rows")
            if deep:
                with path.open("rb") as content:
                    if hashlib.file_digest(content, "sha256").hexdigest() != digest:
                        raise ValueError("its SHA-256 is not that of the JSON")
        except OSError as error:
            raise DataError(f"Shard {path} cannot be read ({error.strerror}): write the folder again.") from error
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(f"Shard {path} is damaged ({error}): write the folder again.") from error
        return array.view(np.ndarray)


def open_side(folder: Path, side: Side, deep: bool = False) -> dict[str, Shards]:
    """The columns of one side of a folder, by the ends of their file names; ``deep`` compares every SHA-256.

    Raises DataError for a folder that is incomplete or of another version, and for a file that is missing, truncated
    or (``deep``) altered.
    """
    path = folder / MANIFEST
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["version"] != VERSION:
            raise ValueError(f"format {facts['version']}, not {VERSION}")
        files = [(operator.index(each["rows"]), dict(each["sha256"])) for each in facts[side]]
        width = operator.index(facts["width"])
        columns = {
            name: Shards(folder, side, name, width, tuple((rows, sums.get(name, "")) for rows, sums in files))
            for name in COLUMNS
            if files and name in files[0][1]
        }
        if not {"", "_labels"} <= columns.keys() or not columns[""].shape[0]:
            raise ValueError(f"no rows of the {side} side")
    except OSError as error:
        raise DataError(
            f"Folder {folder} has no readable {MANIFEST} ({error.strerror}): it was not written to the end, or by an "
            "earlier version. Write it again with `bench score FILE --to-shards`."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is damaged or of another version ({error}): write the folder again.") from error
    for column in columns.values():
        for number in range(len(files)):
            column.map(number, deep)
    return columns


def open_shards(folder: Path, deep: bool = False) -> Embeddings:
    """The queries in memory, and the gallery to be read in blocks; raises as ``open_side``."""
    query, gallery = (open_side(folder, side, deep) for side in SIDES)
    optional = query.get("_clusters"), query.get("_groups"), gallery.get("_groups")
    marks = (None if each is None else each[:] for each in optional)
    return Embeddings(np.array(query[""][:]), gallery[""], np.array(query["_labels"][:]), gallery["_labels"], *marks)
