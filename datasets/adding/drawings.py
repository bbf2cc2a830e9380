"""Sources of sketches that are drawn from other files: Quick, Draw!'s .ndjson and .npy, and .svg."""

from __future__ import annotations

import hashlib
import heapq
import logging
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.datasets.adding.entries import PART, Entry, Progress, Put, Source
from bench.datasets.adding.recognise import Pick
from bench.datasets.adding.sources import file_of
from bench.datasets.adding.strokes import BITMAP, draw_bitmap, draw_strokes, parse_drawing
from bench.datasets.adding.svg import check_renderer, draw_svg
from bench.datasets.published.tree_dataset import TreeDataset
from bench.errors import DataError
from bench.io import write_whole

log = logging.getLogger("bench.datasets")

PREFIX = re.compile(r"^full[_-](?:raw|simplified|numpy[_-]bitmap)[_-]")  # of files that a browser downloads
KEY = re.compile(rb'"key_id"\s*:\s*"?(\d{1,20})\b')
LIST = "drawn-sketches.tsv"
HEAD = "path\tseed\tfile\tnumber"
LONGEST = 2**26  # bytes of a line


@dataclass(frozen=True)
class Draw:
    """How many drawings of each class are taken, and the seed that chooses them.

    The choice is a function of the seed and of the ids of the drawings: the same from raw and from simplified files.
    """

    count: int = 3000  # as in QuickDraw Extended
    seed: int = 0

    def choose(self, ids: Iterator[tuple[str, int]]) -> dict[str, int]:
        """The drawings with the smallest SHA-256 of seed and id, of pairs (id, place)."""

        def rank(pair: tuple[str, int]) -> bytes:
            return hashlib.sha256(f"{self.seed} {pair[0]}".encode()).digest()

        return dict(heapq.nsmallest(self.count, dict(ids).items(), key=rank))


DEFAULT = Draw()


class Drawn(Source):
    """Pictures that are drawn when they are read. ``origin`` of an entry is where its drawing is, for a list.

    The paths of entries begin with the name of the dataset, because the class folder is beside nothing else.
    """

    drawn = True

    def __init__(self, title: str, progress: Progress) -> None:
        self.title, self.progress = title, progress

    def read(self, wanted: Sequence[Entry], put: Put) -> None:
        """Draw the pictures."""
        self.progress.phase(f"drawing {len(wanted):,} sketches")
        for entry in wanted:
            put(entry, self.draw(entry))

    @abstractmethod
    def draw(self, entry: Entry) -> bytes:
        """The PNG of one entry."""

    @abstractmethod
    def origin(self, entry: Entry) -> str:
        """The file, and the number of the drawing in it (from 1)."""


class NdjsonFile(Drawn):
    """Drawings of one class: a line of JSON for each, with strokes. Damaged lines are left out with a warning.

    ``advance`` is called with the numbers of bytes that were read.
    """

    def __init__(
        self, path: Path, title: str, dataset: str, draw: Draw, progress: Progress, advance: Callable[[int], None]
    ) -> None:
        super().__init__(title, progress)
        self.path, self.bad, self._advance = path, dict[int, str](), advance
        self.numbers: dict[int, int] = {}  # of lines, by their offset
        chosen = draw.choose(self._ids())
        name = class_of(path.name)
        self.entries = tuple(
            Entry(f"{dataset}/{name}/{key}.png", None, offset)
            for key, offset in sorted(chosen.items())
            if self._is_whole(offset)
        )
        self.numbers = {entry.member: self.numbers[entry.member] for entry in self.entries}
        report_bad(self.title, self.bad, len(self.entries))

    def _ids(self) -> Iterator[tuple[str, int]]:
        number = offset = shown = 0
        with self.path.open("rb") as file:
            while line := file.readline(LONGEST):
                number += 1
                if offset - shown > 16 * PART:
                    self._advance(offset - shown)
                    shown = offset
                if len(line) == LONGEST:
                    raise DataError(f"{self.title} has a line of {LONGEST:,} bytes: it is no file of Quick, Draw!.")
                if found := KEY.search(line):
                    self.numbers[offset] = number
                    yield found[1].decode(), offset
                elif line.strip():
                    self.bad[number] = "has no key_id"
                offset += len(line)
        self._advance(offset - shown)

    def _is_whole(self, offset: int) -> bool:
        try:
            parse_drawing(self._line(offset))
        except ValueError as error:
            self.bad[self.numbers[offset]] = str(error)
            return False
        return True

    def _line(self, offset: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.readline(LONGEST)

    def draw(self, entry: Entry) -> bytes:
        """The strokes of one line."""
        return draw_strokes(parse_drawing(self._line(entry.member)))

    def origin(self, entry: Entry) -> str:
        """The file and the line."""
        return f"{self.path.name}\t{self.numbers[entry.member]}"


class BitmapFile(Drawn):
    """Drawings of one class as published bitmaps: uint8 [drawings, 784]. Their ids are the numbers of rows."""

    def __init__(
        self, path: Path, title: str, dataset: str, draw: Draw, progress: Progress, advance: Callable[[int], None]
    ) -> None:
        super().__init__(title, progress)
        self.path = path
        advance(path.stat().st_size)
        try:
            self.rows = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError, EOFError, OverflowError) as error:
            raise DataError(f"{title} is damaged, or no array of numpy: download it again.") from error
        if self.rows.dtype != np.uint8 or self.rows.shape[1:] != (BITMAP * BITMAP,):
            raise DataError(
                f"{title} holds {self.rows.dtype} {list(self.rows.shape)}, but bitmaps of Quick, Draw! are uint8 "
                f"[drawings, {BITMAP * BITMAP}]: take the file of its numpy_bitmap folder."
            )
        chosen = draw.choose((str(row), row) for row in range(1, len(self.rows) + 1))
        name = class_of(path.name)
        self.entries = tuple(Entry(f"{dataset}/{name}/row-{key}.png", None, row) for key, row in sorted(chosen.items()))

    def draw(self, entry: Entry) -> bytes:
        """One row."""
        return draw_bitmap(self.rows[entry.member - 1])

    def origin(self, entry: Entry) -> str:
        """The file and the row."""
        return f"{self.path.name}\t{entry.member}"


class SvgSketches(Source):
    """The .svg files of another source, in class folders. Files that are refused are left out with a warning."""

    drawn = True

    def __init__(self, source: Source, entries: Sequence[Entry], dataset: str, progress: Progress) -> None:
        check_renderer()
        self.title, self.progress = source.title, progress
        self.source = source
        self.bad: dict[str, str] = {}
        self.entries = tuple(
            Entry(f"{dataset}/{'/'.join(each.path.split('/')[-2:])[:-4]}.png", None, each) for each in entries
        )

    def read(self, wanted: Sequence[Entry], put: Put) -> None:
        """Draw the pictures."""
        self.progress.phase(f"drawing {len(wanted):,} sketches")
        targets = {entry.member.path: entry for entry in wanted}

        def draw(entry: Entry, content: bytes) -> None:
            try:
                picture = draw_svg(content)
            except ValueError as error:
                self.bad[entry.path] = str(error)
            else:
                put(targets[entry.path], picture)

        self.source.read([entry.member for entry in wanted], draw)
        report_bad(self.title, self.bad, len(self.entries) - len(self.bad))


def report_bad(title: str, bad: dict[int, str] | dict[str, str], good: int) -> None:
    """Warn in one sentence of lines or files that are left out; raises DataError if nothing else is there."""
    if not bad:
        return
    first, reason = next(iter(sorted(bad.items())))
    where = f"line {first}" if isinstance(first, int) else first
    if not good:
        raise DataError(f"{title} holds no drawing that can be read (first {where}, which {reason}).")
    log.warning("%s: %d of its drawings are left out, first %s, which %s", title, len(bad), where, reason)


def class_of(name: str) -> str:
    """The class of a file of Quick, Draw!.

    >>> class_of("full_simplified_alarm clock.ndjson"), class_of("bat.npy")
    ('alarm clock', 'bat')
    """
    return PREFIX.sub("", name.rpartition(".")[0])


def open_drawings(
    dataset: TreeDataset, sources: Sequence[Source], work: Path, progress: Progress, draw: Draw
) -> list[Source]:
    """Sources that draw the files of other ``sources`` from which sketches of a dataset are drawn.

    ``work`` is for files in archives. Raises DataError for a file without a drawing, LoadingError without the extra
    ``svg``.
    """
    found: list[Source] = []
    files: list[tuple[Path, str]] = []
    for number, source in enumerate(sources):
        taken = [entry for entry in source.entries if dataset.drawn and entry.path.lower().endswith(dataset.drawn)]
        known = {entry.path for entry in taken}
        source.entries = tuple(entry for entry in source.entries if entry.path not in known)  # they are no images
        if svg := [entry for entry in taken if entry.path.lower().endswith(".svg")]:
            found.append(SvgSketches(source, svg, dataset.titles[0], progress))
        for place, entry in enumerate(taken):
            title = entry.path.rpartition("/")[2]
            # Two thirds of Quick, Draw!'s classes are in no dataset.
            if not title.lower().endswith(".svg") and dataset.names.find(class_of(title)) is not None:
                files.append((file_of(source, entry, work / f"drawn-{number}-{place}", progress), title))
    done, total = 0, sum(path.stat().st_size for path, _ in files)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress.progress(done, total)

    if files:
        progress.phase(f"reading {len(files):,} files of drawings")
    for path, title in files:
        kind = KINDS[path.suffix.lower()]
        found.append(kind(path, title, dataset.titles[0], draw, progress, advance))
    return found


def write_list(root: Path, picks: Sequence[Pick], draw: Draw) -> None:
    """Add the chosen drawings to the list in the dataset's folder: path, seed, file, number in it (from 1)."""
    lines = {
        f"{pick.target}\t{draw.seed}\t{pick.source.origin(pick.entry)}"
        for pick in picks
        if isinstance(pick.source, Drawn)
    }
    if not lines:
        return
    path = root / LIST
    if path.is_file():
        lines |= {*path.read_text(encoding="utf-8").splitlines()[1:]}
    write_whole(path, "\n".join([HEAD, *sorted(lines), ""]).encode(), "--data-root")


KINDS: Mapping[str, type[NdjsonFile | BitmapFile]] = {".ndjson": NdjsonFile, ".npy": BitmapFile}
