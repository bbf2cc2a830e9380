"""7z archives as sources, by py7zr."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.datasets.adding.entries import Entry, Put, Source, resolve_links, safe_name
from bench.errors import DataError, missing_extra


class SevenZipArchive(Source):
    """A 7z; its solid blocks are unpacked from the beginning, in one pass.

    Raises LoadingError without py7zr, DataError if the archive is damaged or encrypted, or a name leads out of it.
    """

    def __init__(self, path: Path, title: str, stem: str) -> None:
        self.path, self.title, self.packed = path, title, path.stat().st_size
        found: list[Entry] = []
        links: dict[str, str] = {}  # by name in the archive
        with self._open() as archive:
            if archive.needs_password():
                raise DataError(f"{title} is encrypted: unpack it with its password, and add the folder.")
            for info in archive.list():
                if info.is_directory or (name := safe_name(info.filename, title)) is None:
                    continue
                if info.is_symlink:
                    links[info.filename] = f"{stem}/{name}"
                elif info.is_file:
                    found.append(Entry(f"{stem}/{name}", info.uncompressed, info))
        targets: dict[str, str] = {}  # of links, which are read in one pass

        def done(name: str, content: bytes) -> None:
            targets[links[name]] = content.decode(errors="replace")

        if links:
            self._unpack(list(links), done)
        self.entries = resolve_links(found, targets, title)

    def read(self, wanted: Sequence[Entry], put: Put) -> None:
        """The content of members in the order of the archive."""
        by_name: dict[str, list[Entry]] = {}
        for entry in wanted:
            by_name.setdefault(entry.member.filename, []).append(entry)

        def done(name: str, content: bytes) -> None:
            for entry in by_name.pop(name, ()):
                if zlib.crc32(content) != entry.member.crc32 and content:
                    raise DataError(f"{entry.path} in {self.title} is damaged: download the archive again.")
                put(entry, content)

        self._unpack(list(by_name), done)

    def _unpack(self, names: list[str], done: Callable[[str, bytes], object]) -> None:
        with self._open() as archive:
            archive.extract(targets=names, factory=_factory(done))

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            import py7zr
            from py7zr.exceptions import ArchiveError, PasswordRequired
        except ImportError as error:
            raise missing_extra("A 7z archive", "archives") from error
        try:
            # Of an open file, py7zr unpacks one block after the other in this thread.
            with self.path.open("rb") as file, py7zr.SevenZipFile(file) as archive:
                yield archive
        except PasswordRequired as error:
            raise DataError(f"{self.title} is encrypted: unpack it with its password, and add the folder.") from error
        except (ArchiveError, EOFError, lzma.LZMAError, zlib.error, ValueError, OSError) as error:
            raise DataError(f"{self.title} is a truncated or damaged 7z ({error}): download it again.") from error


def _factory(done: Callable[[str, bytes], object]) -> Any:
    """A factory of py7zr that calls ``done`` with each member as soon as it is complete."""
    from py7zr.io import Py7zIO, WriterFactory

    class Member(Py7zIO):
        def __init__(self, name: str) -> None:
            self.name, self.parts, self.complete = name, bytearray(), False

        def write(self, part: bytes | bytearray) -> int:
            self.parts += part
            return len(part)

        def read(self, size: int | None = None) -> bytes:
            return b""

        def seek(self, offset: int, whence: int = 0) -> int:
            return 0

        def flush(self) -> None:
            pass

        def size(self) -> int:
            return len(self.parts)

        def close(self) -> None:
            if not self.complete:
                self.complete = True
                done(self.name, bytes(self.parts))

    class Members(WriterFactory):
        def create(self, filename: str) -> Member:
            return Member(filename)

    return Members()
