"""Reading the folders that ``shard_writer`` describes: checked when they are opened, then mapped shard by shard."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.embeddings.arrays import StreamedEmbeddings
from bench.embeddings.shard_writer import FORMAT, MOST_PARTS, SIDES, VERSION, Side
from bench.errors import DataError
from bench.types import Floats, Labels

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Shards:
    """One side of a folder: ``files`` in order, each with its rows; ``width`` and ``network`` are the same for all.

    Nothing but the rows that are asked for is read, and only their shards are mapped.
    """

    folder: Path
    files: tuple[dict[str, Any], ...]
    width: int
    network: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width."""
        return sum(each["rows"] for each in self.files), self.width

    def vectors(self, begin: int, end: int) -> Floats:
        """float32 [end - begin, width]: a view of the mapped file where the rows lie in one shard.

        Raises DataError for a file that is not there any more, or changed.
        """
        parts = self._parts("vectors", begin, end)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def labels(self, begin: int, end: int) -> Labels:
        """int64 [end - begin]; raises DataError as ``vectors``, and for a negative label."""
        parts = self._parts("labels", begin, end)
        labels: Labels = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if len(labels) and labels.min() < 0:
            raise DataError(f"Shards in {self.folder} hold the label {labels.min()}: labels are integers from 0.")
        return labels

    def paths(self) -> tuple[str, ...] | None:
        """The path of every row; None where there are none."""
        if "paths" not in self.files[0]:
            return None
        found: list[str] = []
        for shard in self.files:
            lines = (self.folder / shard["paths"]["file"]).read_text(encoding="utf-8").split("\n")
            if len(lines) != shard["rows"]:
                raise DataError(f"{shard['paths']['file']} has {len(lines)} lines for {shard['rows']} rows.")
            found += lines
        return tuple(found)

    def _parts(self, kind: str, begin: int, end: int) -> list[Array]:
        ends = self._ends
        found: list[Array] = []
        number = min(bisect_right(ends, begin), len(ends) - 1)
        while begin < end or not found:
            first = ends[number] - self.files[number]["rows"]
            stop = min(end, ends[number])
            found.append(mapped(self.folder, self.files[number], kind, self.width)[begin - first : stop - first])
            begin, number = stop, number + 1
        return found

    @property
    def _ends(self) -> list[int]:
        return list(accumulate(each["rows"] for each in self.files))


def open_shards(folder: Path, deep: bool = False) -> StreamedEmbeddings:
    """The queries, read, and the gallery, to be read in blocks; ``deep`` compares every file with its SHA-256.

    Raises DataError, one sentence, for a folder without shards, a part or file that is missing, cut off or (``deep``)
    altered, another width or number type than its manifest tells, shards of different networks or widths.
    """
    query, gallery = (open_side(folder, side, deep) for side in SIDES)
    for what, one, other in (("network", gallery.network, query.network), ("width", gallery.width, query.width)):
        if one != other:
            raise DataError(
                f"Shards in {folder} do not fit together: the gallery is of {what} {one}, the queries of {other}: "
                "embed both with one network."
            )
    rows = query.shape[0]
    return StreamedEmbeddings(np.array(query.vectors(0, rows)), np.array(query.labels(0, rows)), gallery)


def open_side(folder: Path, side: Side, deep: bool = False) -> Shards:
    """The shards of one side, all parts in order, checked as ``open_shards`` says."""
    found = [_manifest(path) for path in sorted(folder.glob(f"{side}-???.json"))]
    if not found:
        raise DataError(f"Folder {folder} has no shards of the {side} side: {side}-000.json is missing.")
    first = found[0]
    missing = sorted(set(range(first["parts"])) - {each["part"] for each in found})
    if missing or len(found) != first["parts"]:
        which = f"part {missing[0]} is missing" if missing else "there are more"
        raise DataError(f"The {side} side of the shards in {folder} has {first['parts']} parts, but {which}.")
    for each in found:
        for what in ("network", "width", "parts"):
            if each[what] != first[what]:
                raise DataError(
                    f"Shards in {folder} do not fit together: part {each['part']} of the {side} side is of {what} "
                    f"{each[what]}, part {first['part']} of {first[what]}: embed all with one network."
                )
    files = tuple(shard for each in found for shard in each["shards"])
    for shard in files:
        _check(folder, shard, first["width"], deep)
    return Shards(folder, files, first["width"], first["network"])


def digest_of_shards(folder: Path) -> str:
    """SHA-256 of the manifests, which hold those of all files: 64 hex digits."""
    digest = hashlib.sha256()
    for side in SIDES:
        for path in sorted(folder.glob(f"{side}-???.json")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def mapped(folder: Path, shard: dict[str, Any], kind: str, width: int) -> Array:
    """The array of a shard, ``vectors`` or ``labels``, through a memory map; DataError where it is not as declared."""
    name = shard[kind]["file"]
    try:
        array = np.load(folder / name, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DataError(f"Shard {name} in {folder} cannot be read ({error.strerror}).") from error
    except (ValueError, EOFError) as error:
        raise DataError(f"Shard {name} in {folder} is damaged ({error}).") from error
    dtype, shape = (np.float32, (shard["rows"], width)) if kind == "vectors" else (np.int64, (shard["rows"],))
    if array.dtype != dtype or array.shape != shape:
        raise DataError(
            f"Shard {name} in {folder} holds {array.dtype} {array.shape}, but its manifest tells "
            f"{np.dtype(dtype)} {shape}: write it again."
        )
    if not array.flags.c_contiguous:
        raise DataError(f"Shard {name} in {folder} is stored column by column (Fortran's order): write it by rows.")
    return np.asarray(array.view(np.ndarray))


def _manifest(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise ValueError(f"format {facts['format']}")
        if facts["version"] > VERSION:
            raise DataError(f"Shards of {path} were written by a newer version (format {facts['version']}).")
        numbers = [facts[name] for name in ("part", "parts", "width", "rows")]
        numbers += [shard["rows"] for shard in facts["shards"]]
        files = [shard[kind] for shard in facts["shards"] for kind in ("vectors", "labels", "paths") if kind in shard]
        numbers += [file["bytes"] for file in files]
        if not all(isinstance(each, int) and each >= 0 for each in numbers):
            raise ValueError("a number that is none")
        if not facts["part"] < facts["parts"] <= MOST_PARTS:
            raise ValueError(f"part {facts['part']} of {facts['parts']}")
        if path.name != f"{facts['side']}-{facts['part']:03}.json":
            raise ValueError(f"side {facts['side']}, part {facts['part']}")
        if len({file["file"] for file in files}) < len(files):
            raise ValueError("a file twice")
        if any(Path(file["file"]).name != file["file"] for file in files):
            raise ValueError("a file elsewhere")
        if not facts["shards"] or sum(shard["rows"] for shard in facts["shards"]) != facts["rows"]:
            raise ValueError("rows that do not add up")
        if facts["shards"][0].keys() != facts["shards"][-1].keys() or not isinstance(facts["network"], str):
            raise ValueError("entries that differ")
    except OSError as error:
        raise DataError(f"Manifest {path} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"Manifest {path} is no manifest of shards ({error}): write the shards again.") from error
    return dict(facts)


def _check(folder: Path, shard: dict[str, Any], width: int, deep: bool) -> None:
    for kind in ("vectors", "labels", "paths"):
        if kind not in shard:
            continue
        file = shard[kind]
        path = folder / file["file"]
        if not path.is_file():
            raise DataError(f"Shard {path.name} is missing in {folder}: write the shards again.")
        size = path.stat().st_size
        if size != file["bytes"]:
            cut = "cut off" if size < file["bytes"] else "altered"
            raise DataError(
                f"Shard {path.name} in {folder} is {cut}: it has {size} bytes, {file['bytes']} by its manifest."
            )
        if deep:
            with path.open("rb") as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != file["sha256"]:
                    raise DataError(f"Shard {path.name} in {folder} is altered: its SHA-256 is not the manifest's.")
        if kind != "paths":
            mapped(folder, shard, kind, width)
