"""Zip archives as sources."""

from __future__ import annotations

import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.datasets.adding.entries import PART, Entry, Put, Source, resolve_links, safe_name
from bench.datasets.published.in_place import Member, read_member
from bench.errors import DataError

HEADER = struct.Struct("<26xHH")  # of a member: lengths of its name and of its extra field, which its data follow
UTF8, ENCRYPTED = 0x800, 0x1  # flags of a member
UNICODE_PATH = 0x7075  # an extra field: version, CRC of the plain name, name in UTF-8
LONGEST_LINK = 4096  # bytes
FAST = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
DAMAGES = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, OSError, EOFError, NotImplementedError)


class ZipArchive(Source):
    """A zip; members are read at their position, many times faster than by ``zipfile``.

    Raises DataError if it is damaged or encrypted, or if a name leads out of it.
    """

    def __init__(self, path: Path, title: str, stem: str) -> None:
        self.path, self.title, self.packed = path, title, path.stat().st_size
        try:
            self.zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
            raise DataError(f"{title} is a truncated or damaged zip ({error}): download it again.") from error
        found: dict[str, Entry] = {}  # of repeated names the last member counts, as when they are unpacked
        links: dict[str, str] = {}
        for info in self.zip.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            # ``ZipInfo.is_dir`` fails for an empty name.
            if info.filename.endswith("/") or (name := safe_name(name_of(info), title)) is None:
                continue
            if info.flag_bits & ENCRYPTED:
                raise DataError(f"{title} is encrypted: unpack it with its password, and add the folder.")
            if kind == stat.S_IFLNK:
                try:
                    with self.zip.open(info) as link:
                        links[f"{stem}/{name}"] = link.read(LONGEST_LINK).decode(errors="replace")
                except DAMAGES as error:
                    raise self.damaged(name, error) from error
            elif kind in (0, stat.S_IFREG):
                found[info.filename] = Entry(f"{stem}/{name}", info.file_size, info)
            else:
                raise DataError(f"{title} holds {name!r}, which is a device and no file: do not use this file.")
        self.entries = resolve_links(found.values(), links, title)

    def read(self, wanted: Sequence[Entry], put: Put) -> None:
        """The content of members in the order of the archive."""
        file = os.open(self.path, os.O_RDONLY)
        try:
            for entry in sorted(wanted, key=lambda entry: entry.member.header_offset):
                info: zipfile.ZipInfo = entry.member
                try:
                    plain = info.compress_type in FAST
                    content = read_member(file, self.locate(file, entry)) if plain else self.zip.read(info)
                except DAMAGES as error:
                    raise self.damaged(entry.path, error) from error
                put(entry, content)
        finally:
            os.close(file)

    def extract(self, entry: Entry, write: Callable[[bytes], object]) -> None:
        """Pass on the content of a member in parts."""
        try:
            with self.zip.open(entry.member) as content:
                while part := content.read(PART):
                    write(part)
        except DAMAGES as error:
            raise self.damaged(entry.path, error) from error

    def locate(self, file: int, entry: Entry) -> Member:
        """Where the data of a stored or deflated member are; raises ValueError if its header is damaged."""
        info: zipfile.ZipInfo = entry.member
        header = os.pread(file, HEADER.size, info.header_offset)
        if len(header) < HEADER.size or header[:4] != b"PK\3\4":
            raise ValueError("its header is damaged")
        start = info.header_offset + HEADER.size + sum(HEADER.unpack(header))
        if start + info.compress_size > self.packed:  # nothing of that size is read into memory
            raise ValueError("its end is missing")
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        return Member(start, info.compress_size, info.file_size, info.CRC, deflated)

    def locate_all(self, targets: Mapping[str, Entry]) -> dict[str, Member]:
        """Where the data of entries are; raises DataError for a damaged header, or one packed by a rare method."""
        file = os.open(self.path, os.O_RDONLY)
        found = {}
        try:
            for target, entry in targets.items():
                if entry.member.compress_type not in FAST:
                    raise DataError(f"{self.title} is packed by a slow method: leave out --in-place to unpack it.")
                try:
                    found[target] = self.locate(file, entry)
                except (ValueError, OSError) as error:
                    raise self.damaged(entry.path, error) from error
        finally:
            os.close(file)
        return found

    def damaged(self, path: str, error: Exception) -> DataError:
        """The error of a member that cannot be read."""
        reason = str(error) or type(error).__name__
        cure = "unpack it with 7-Zip, and add the folder" if "compression" in reason else "download it again"
        return DataError(f"{path} in {self.title} cannot be read ({reason}): {cure}.")


def name_of(info: zipfile.ZipInfo) -> str:
    """The name of a member.

    A name without the flag for UTF-8 is in cp437 by the standard. Many programs write UTF-8 without the flag, and bytes
    that are valid UTF-8 are hardly ever meant as cp437.
    """
    if info.flag_bits & UTF8 or info.filename.isascii():
        return info.filename
    plain = info.filename.encode("cp437", errors="replace")
    extra = info.extra
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == UNICODE_PATH and length > 5 and struct.unpack_from("<xL", extra, 4)[0] == zlib.crc32(plain):
            return extra[9 : 4 + length].decode(errors="replace")
        extra = extra[4 + length :]
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return info.filename
