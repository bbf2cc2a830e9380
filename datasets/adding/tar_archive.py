"""Tar archives, plain or compressed, as sources."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.datasets.adding.entries import PART, Entry, Progress, Put, Source, check_ratio, resolve_links, safe_name
from bench.errors import DataError

END = bytes(tarfile.BLOCKSIZE)
DAMAGES = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)


class TarArchive(Source):
    """A tar, read from its beginning to its end: once for its names, and once for its contents.

    Raises DataError if it is damaged, or if it holds a device, a name or a link that leads out of it.
    """

    def __init__(self, path: Path, title: str, stem: str, progress: Progress) -> None:
        self.path, self.title, self.packed = path, title, path.stat().st_size
        found: dict[str, Entry] = {}  # of repeated names the last member counts, as when they are unpacked
        links: dict[str, str] = {}
        progress.phase(f"listing {path.name}")
        for _, member in self._members(lambda done: progress.progress(done, self.packed)):
            check_ratio(member.offset_data + member.size, self.packed, title)
            if member.isdir() or (name := safe_name(member.name, title)) is None:
                continue
            name = f"{stem}/{name}"
            if member.isreg():
                found[member.name] = Entry(name, member.size, member.offset_data)
                continue
            try:
                tarfile.data_filter(member, ".")
            except tarfile.FilterError as error:
                raise DataError(f"{title} is not safe to unpack ({error}): do not use this file.") from error
            if member.issym():
                links[name] = member.linkname
            elif (entry := found.get(member.linkname)) is not None:
                found[member.name] = Entry(name, entry.size, entry.member)
        self.entries = resolve_links(found.values(), links, title)

    def read(self, wanted: Sequence[Entry], put: Put) -> None:
        """The content of members in the order of the archive."""
        by_offset: dict[int, list[Entry]] = defaultdict(list)
        for entry in wanted:
            by_offset[entry.member].append(entry)
        for file, member in self._members():
            if (entries := by_offset.pop(member.offset_data, None)) is not None:
                with self._damages():
                    reader = file.extractfile(member)
                    content = reader.read() if reader else b""
                for entry in entries:
                    put(entry, content)
            if not by_offset:
                return

    def extract(self, entry: Entry, write: Callable[[bytes], object]) -> None:
        """Pass on the content of a member in parts."""
        for file, member in self._members():
            if member.offset_data == entry.member and (reader := file.extractfile(member)):
                with self._damages():  # ``write`` raises none of its errors
                    while part := reader.read(PART):
                        write(part)
                return

    def _members(
        self, watch: Callable[[int], None] = lambda done: None
    ) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        """The members with the open archive; ``watch`` gets the position in the packed file."""
        with self._damages(), self.path.open("rb") as packed, tarfile.open(fileobj=packed) as file:
            for member in file:
                watch(packed.tell())
                yield file, member
                file.members = []  # type: ignore[attr-defined]  # or it would keep all
            file.fileobj.seek(file.offset)
            if file.fileobj.read(len(END)) != END:  # tarfile takes a cut in a header for the end
                raise tarfile.ReadError("its end is missing")

    @contextmanager
    def _damages(self) -> Iterator[None]:
        try:
            yield
        except DAMAGES as error:
            reason = str(error).partition(":\n")[0]  # tarfile lists each compression that it has tried
            raise DataError(f"{self.title} is a truncated or damaged archive ({reason}): download it again.") from error
