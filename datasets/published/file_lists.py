"""Read published file lists: one image per line, ``<relative path> <integer label>``.

The last word is the label; the path before it can hold spaces. Source: buptLinfy/ZSE-SBIR 88f87f7
data_utils/utils.py, "get_all_train_file".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.errors import DataError, reason


def read_file_list(root: Path, name: str) -> Iterator[tuple[int, str, int]]:
    """Line number (from 1), path relative to ``root``, and label of every line of ``root/name``.

    Raises DataError for an unreadable or empty file, a line without a label, or a path that is absolute or holds
    ``..``, ``.``, ``//`` or a backslash.
    """
    lines = _text(root / name, name).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"File list {name} in {root} is empty: restore or remove it.")
    for number, line in enumerate(lines, start=1):
        words = line.rsplit(maxsplit=1)
        if len(words) != 2 or not words[1].isdecimal() or not words[1].isascii():
            raise DataError(
                f"Line {number} of file list {name} has no label: a line is '<path> <integer>', not {line!r}."
            )
        path = words[0]
        if not _stays_inside(path):
            raise DataError(
                f"Line {number} of file list {name} has a path that leaves the dataset's folder or is not plain "
                f"({path!r}): write it relative to that folder, without '..', '.' or '//'."
            )
        yield number, path, int(words[1])


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # skips the mark that Windows editors write
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"File list {name} in {path.parent} cannot be read ({reason(error)}): restore or remove it."
        ) from error


def _stays_inside(path: str) -> bool:
    if "\\" in path or path.startswith("/") or path[1:2] == ":" or path != path.strip():
        return False
    if "/." not in path and "//" not in path and path[0] != "." and path[-1] != "/":
        return True  # nearly all of 150,000 lines
    return not {"", ".", ".."} & set(path.split("/"))
