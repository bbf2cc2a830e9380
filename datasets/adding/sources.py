"""Open what the user names: archives, archives in them, folders and addresses."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from bench.datasets.adding.disk import check_space, storage_errors
from bench.datasets.adding.entries import Entry, Progress, Source, check_ratio
from bench.datasets.adding.folder_tree import FolderTree
from bench.datasets.adding.pages import BY_BROWSER, is_page
from bench.datasets.adding.seven_zip import SevenZipArchive
from bench.datasets.adding.tar_archive import TarArchive
from bench.datasets.adding.zip_archive import ZipArchive
from bench.errors import DataError

log = logging.getLogger("bench.datasets")

NESTED = (".zip", ".7z", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
DEPTH = 2  # archives in archives in an archive
KINDS = {  # the first bytes of a file
    b"PK\3\4": "zip",
    b"PK\5\6": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x1f\x8b": "tar",
    b"BZh": "tar",
    b"\xfd7zXZ\0": "tar",
    b"Rar!": "rar",
}
TAR_MARK = slice(257, 262)


def open_sources(
    files: Sequence[tuple[str, Path]], work: Path, progress: Progress, drawn: Collection[str] = ()
) -> list[Source]:
    """The sources of (title, file or folder), and the archives in them; ``work`` is for those.

    Files with a suffix in ``drawn`` are no archives: ``drawings`` makes pictures from them. Raises
    DataError for a damaged, encrypted or dangerous file, LoadingError without a needed package, StorageError
    if an archive in another one cannot be unpacked.
    """
    found: list[Source] = []
    for number, (title, path) in enumerate(files):
        if path.is_dir() or path.suffix.lower() in drawn:
            source: Source = FolderTree(path, title)
        else:
            source = open_archive(path, title, stem_of(path.name), progress)
        found += [source, *_open_nested(source, work / f"{number}", progress, DEPTH)]
    return found


def open_archive(path: Path, title: str, stem: str, progress: Progress) -> Source:
    """An archive by its first bytes; the paths of its entries begin with ``stem``."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise DataError(
            f"{title} cannot be read ({error.strerror}): pass an archive, a folder or an address."
        ) from error
    kind = next((kind for mark, kind in KINDS.items() if start.startswith(mark)), "")
    if kind == "zip":
        return ZipArchive(path, title, stem)
    if kind == "7z":
        return SevenZipArchive(path, title, stem)
    if kind == "tar" or start[TAR_MARK] == b"ustar":
        return TarArchive(path, title, stem, progress)
    if is_page(start, ""):
        raise DataError(f"{title} is a web page, and no archive: {BY_BROWSER}.")
    what = "is a RAR archive, which is not read" if kind == "rar" else "is not an archive (zip, tar or 7z)"
    raise DataError(f"{title} {what}: unpack it, and add the folder.")


def stem_of(name: str) -> str:
    """The name of an archive without its suffixes.

    >>> stem_of("png.tar.gz"), stem_of("ImageResized.zip"), stem_of("v1.2")
    ('png', 'ImageResized', 'v1.2')
    """
    suffix = max((each for each in NESTED if name.lower().endswith(each)), key=len, default="")
    return name[: len(name) - len(suffix)]


def key_of(files: Sequence[tuple[str, Path]], options: object) -> str:
    """12 hex digits that change with the sources and options: the name of the folder for unfinished work."""
    digest = hashlib.sha256(str(options).encode())
    for _, path in files:
        facts = path.stat()
        digest.update(os.fsencode(path.resolve()))
        digest.update(f"\t{facts.st_size}\t{0 if path.is_dir() else facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]


def _open_nested(source: Source, work: Path, progress: Progress, depth: int) -> Iterator[Source]:
    entries = [entry for entry in source.entries if entry.path.lower().endswith(NESTED)]
    if source.packed:
        check_ratio(sum(entry.size or 0 for entry in entries), source.packed, source.title)
    for number, entry in enumerate(entries):
        title = f"{entry.path} in {source.title}"
        if depth == 0:
            log.warning("left out %s: too many archives in one another", title)
            continue
        folder = work / f"{number}"
        try:
            path = file_of(source, entry, folder, progress)
            inner = open_archive(path, title, stem_of(entry.path), progress)
        except DataError as error:
            log.warning("left out: %s", error)
            continue
        yield inner
        yield from _open_nested(inner, folder, progress, depth - 1)


def file_of(source: Source, entry: Entry, folder: Path, progress: Progress) -> Path:
    """The file of an entry; unpacked into ``folder`` if it is in an archive."""
    path = Path(entry.member) if isinstance(source, FolderTree) else folder / entry.path.rpartition("/")[2]
    if not path.exists():
        _unpack(source, entry, path, progress)
    return path


def _unpack(source: Source, entry: Entry, path: Path, progress: Progress) -> None:
    """Write a file of an archive, which has its name only when it is complete."""
    part = path.with_name(".part")
    done = 0
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        check_space(path.parent, entry.size or 0)
        progress.phase(f"unpacking {path.name}")
        with part.open("wb") as file:

            def write(content: bytes) -> None:
                nonlocal done
                with storage_errors(path.parent):
                    file.write(content)
                done += len(content)
                progress.progress(done, entry.size or done)

            source.extract(entry, write)
        os.replace(part, path)  # noqa: PTH105
