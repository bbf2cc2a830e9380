"""Errors that a user can fix: one sentence with the cure, and the exit code of the command line.

Everything else that goes wrong is a bug and ends in a traceback (exit code 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping


class BenchError(Exception):
    """An error that the user can fix; the message is one sentence with the cure."""

    exit_code = 2


class UsageError(BenchError):
    """An option, name or setting that does not exist or does not fit."""

    exit_code = 2


class DataError(BenchError):
    """Data that is missing, damaged or contradicts its declaration."""

    exit_code = 3


class IncompleteError(BenchError):
    """Some runs failed, a selection is empty, or a checked report differs."""

    exit_code = 4


class MemoryExhaustedError(BenchError):
    """Memory of the host or of the device did not suffice."""

    exit_code = 5


class StorageError(BenchError):
    """The results database (or the disk under it) cannot be read or written."""

    exit_code = 6


class DatabaseError(StorageError):
    """The results database itself cannot be read or written."""


class LoadingError(BenchError):
    """A plug-in, weights file or checkpoint that cannot be loaded."""

    exit_code = 7


def missing_extra(what: str, extra: str) -> LoadingError:
    """The error of ``what`` when a package of an extra of this project is not installed."""
    cure = f"run `pip install '.[{extra}]'` in the checkout"
    return LoadingError(f"{what} needs packages that are not installed: {cure}.")


MOST_NAMED = 40  # names that a sentence lists


def reason(error: Exception) -> str:
    """What went wrong, for the middle of a sentence: of a system call without the path, which the sentence names."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def check_known(absence: str, name: str, names: Collection[str]) -> None:
    """Raise UsageError, with the nearest name, unless ``name`` is among ``names``; ``absence`` begins the sentence."""
    if name not in names:
        raise UsageError(f"{absence} {name!r}. {nearest(str(name), names)}")


def nearest(name: str, names: Iterable[str], meanings: Mapping[str, str] | None = None) -> str:
    """A hint about an unknown name: the nearest known name, otherwise all of them.

    ``meanings`` are the helps of the names: one that contains the words of ``name`` is near, too.
    """
    known = sorted(names)
    by_lower_case = {each.lower(): each for each in known}
    words = name.lower().replace("_", " ").replace("-", " ").strip()
    found = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.8)
    found += [each.lower() for each, meaning in (meanings or {}).items() if len(words) > 2 and words in meaning.lower()]
    found += difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
    if found:
        return f"Did you mean {by_lower_case[found[0]]!r}?"
    if len(known) > MOST_NAMED:
        return f"{len(known)} others exist, none of them similar."
    return f"Available: {', '.join(known) or 'none'}."
