"""Embeddings as shards: a folder of arrays that are read through memory maps and may be larger than memory.

A folder holds two sides, ``query`` and ``gallery``, each written in one or several parts, for example one by each
process that embeds photos. Part 0 of the gallery is

``gallery-000.json``
    its manifest: format, side, which part of how many, network, width, and every file with rows, bytes and SHA-256;
``gallery-000-00000.npy``, ...
    vectors, float32 [rows, width], in numpy's format;
``gallery-000-00000.labels.npy``, ...
    their labels, int64 [rows];
``gallery-000-00000.paths.txt``, ...
    optionally their paths, one a line.

The manifest is written last, so that a part is whole or is not there. Rows of a side are those of its parts in order.
``network`` is any text that identifies what made the vectors: parts of another network do not fit together.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from bench.embeddings.arrays import Embeddings
from bench.errors import DataError, UsageError, nearest
from bench.types import Floats, Labels
from bench.write_files import write_whole

Side = Literal["query", "gallery"]
SIDES: tuple[Side, ...] = get_args(Side)
FORMAT, VERSION = "bench shards", 1
SHARD_BYTES = 64 * 2**20
ROUND = 2048  # rows of a shard are a multiple: what the ranking engine multiplies together then lies in one file
ELSEWHERE = "--to-shards"
MOST_PARTS = 1000


class ShardWriter:
    """Writes one part of one side into ``folder``, block by block; holds one shard in memory.

    ``network`` identifies what made the vectors, such as the hash of its weights. Use it as a context manager: the part
    is there when the block ends, and nothing of it is when the block raises.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for side, rows in (("query", 2), ("gallery", 5)):
    ...         with ShardWriter(Path(folder), side, network="model.pt of May") as writer:
    ...             writer.add(np.ones((rows, 3)), np.zeros(rows, dtype=int))
    ...     sorted(path.name for path in Path(folder).glob("gallery*"))
    ['gallery-000-00000.labels.npy', 'gallery-000-00000.npy', 'gallery-000.json']

    Raises UsageError for an unknown side, a part outside ``parts``, a network that is no line of text, and a part that
    is there already.
    """

    def __init__(self, folder: Path, side: Side, *, network: str, part: int = 0, parts: int = 1) -> None:
        if side not in SIDES:
            raise UsageError(f"There is no side {side!r}. {nearest(side, SIDES)}")
        if not 0 <= part < parts <= MOST_PARTS:
            raise UsageError(
                f"Part {part} of {parts} does not exist: parts count from 0, and there are at most {MOST_PARTS}."
            )
        if not network.strip() or not network.isprintable():
            raise UsageError(f"A network is identified by one line of text, not by {network!r}.")
        self.folder, self.side, self.part, self.parts, self.network = Path(folder), side, part, parts, network
        self.manifest = self.folder / f"{side}-{part:03}.json"
        if self.manifest.exists():
            raise UsageError(f"{self.manifest} exists: remove it, or choose another folder.")
        self._files: list[Path] = []
        self._shards: list[dict[str, Any]] = []
        self._width = self._rows = self._held = 0
        self._has_paths = self._closed = False
        self._vectors: Floats = np.empty((0, 0), dtype=np.float32)
        self._labels: Labels = np.empty(0, dtype=np.int64)
        self._paths: list[str] = []

    def add(self, vectors: npt.ArrayLike, labels: npt.ArrayLike, paths: Sequence[str] | None = None) -> None:
        """Append rows: ``vectors`` numbers [rows, width], ``labels`` integers from 0 [rows], ``paths`` [rows] or none.

        Raises DataError for arrays that do not fit together or to the rows before, for NaN and infinity, and where
        paths are given for some rows only; UsageError after ``close``; StorageError when the disk is full or the folder
        cannot be written.
        """
        if self._closed:
            raise UsageError(f"Part {self.part} of the {self.side} side is ended: rows are added within its 'with'.")
        block, classes = np.asarray(vectors), np.asarray(labels)
        if block.ndim != 2 or block.dtype.kind not in "fiub" or not block.shape[1]:
            raise DataError(f"Vectors are numbers [rows, width], not {block.dtype} {block.shape}.")
        if classes.shape != (len(block),) or classes.dtype.kind not in "iu":
            raise DataError(f"Labels are one integer a row, not {classes.dtype} {classes.shape} for {len(block)} rows.")
        if not len(block):
            return
        if classes.min() < 0:
            raise DataError(f"Labels are integers from 0, not {classes.min()}.")
        if paths is not None and (len(paths) != len(block) or any("\n" in path for path in paths)):
            raise DataError(f"Paths are one line a row; there are {len(paths)} for {len(block)} rows.")
        self._begin(block.shape[1], paths is not None)
        rows = block.astype(np.float32)
        if not np.isfinite(rows).all():
            raise DataError(f"The vectors to write hold NaN or infinity, after {self._rows + self._held} good rows.")
        done = 0
        while done < len(rows):
            taken = min(len(rows) - done, len(self._labels) - self._held)
            place, part = slice(self._held, self._held + taken), slice(done, done + taken)
            self._vectors[place], self._labels[place] = rows[part], classes[part]
            if paths is not None:
                self._paths += paths[part]
            self._held += taken
            done += taken
            if self._held == len(self._labels):
                self._flush()

    def close(self) -> None:
        """Write what is held and the manifest; raises DataError when there are no rows, StorageError as ``add``."""
        self._closed = True
        self._flush()
        if not self._shards:
            raise DataError(f"There are no rows to write for part {self.part} of the {self.side} side.")
        facts = {
            "format": FORMAT,
            "version": VERSION,
            "side": self.side,
            "part": self.part,
            "parts": self.parts,
            "network": self.network,
            "width": self._width,
            "rows": self._rows,
            "shards": self._shards,
        }
        write_whole(self.manifest, json.dumps(facts, indent=1).encode(), ELSEWHERE)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            if not self.manifest.exists():
                for file in self._files:
                    with suppress(OSError):
                        file.unlink(missing_ok=True)

    def _begin(self, width: int, has_paths: bool) -> None:
        if not self._width:
            rows = SHARD_BYTES // (4 * width)
            rows = max(1, rows // ROUND * ROUND if rows >= ROUND else rows)
            self._vectors, self._labels = np.empty((rows, width), np.float32), np.empty(rows, np.int64)
            self._width, self._has_paths = width, has_paths
        if width != self._width:
            raise DataError(f"These vectors have width {width}, those before {self._width}.")
        if has_paths != self._has_paths:
            raise DataError("Paths are given for some rows and not for others: give them for all or none.")

    def _flush(self) -> None:
        if not self._held:
            return
        name = f"{self.side}-{self.part:03}-{len(self._shards):05}"
        shard = {
            "rows": self._held,
            "vectors": self._write(f"{name}.npy", _npy(self._vectors[: self._held])),
            "labels": self._write(f"{name}.labels.npy", _npy(self._labels[: self._held])),
        }
        if self._has_paths:
            shard["paths"] = self._write(f"{name}.paths.txt", memoryview("\n".join(self._paths).encode()))
        self._shards.append(shard)
        self._rows += self._held
        self._held, self._paths = 0, []

    def _write(self, name: str, content: memoryview) -> dict[str, Any]:
        self._files.append(self.folder / name)
        write_whole(self.folder / name, content, ELSEWHERE)
        return {"file": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def write_shards(
    folder: Path,
    embeddings: Embeddings,
    network: str,
    query_paths: Sequence[str] | None = None,
    gallery_paths: Sequence[str] | None = None,
) -> None:
    """Both sides of embeddings that are at hand; raises what ``ShardWriter`` raises."""
    queries, photos = (ShardWriter(folder, side, network=network) for side in SIDES)
    with queries, photos:
        queries.add(embeddings.query, embeddings.query_labels, query_paths)
        photos.add(embeddings.gallery, embeddings.gallery_labels, gallery_paths)


def _npy(array: npt.NDArray[Any]) -> memoryview:
    """The bytes of a ``.npy`` file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getbuffer()
