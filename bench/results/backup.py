"""A copy of the results database while others write to it: SQLite's online backup."""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from bench.errors import IncompleteError, StorageError, UsageError
from bench.results.database import database_file, failures, plain


def backup(where: str, target: Path) -> int:
    """Copy the database at ``where`` to the file ``target``, as it was at one moment; the number of its runs.

    The copy is checked, flushed to the disk and only then gets its name. Raises UsageError for a target that exists or
    a database that is not SQLite's, IncompleteError when there is no database, StorageError when it cannot be read, is
    none of bench's, or the copy cannot be written; nothing is left behind then.
    """
    source = database_file(where)
    if source is None:
        raise UsageError(
            f"'bench store backup' copies SQLite files, not {plain(where)}: use the server's own, pg_dump."
        )
    if not source.exists():
        raise IncompleteError(f"There is no results database {source}: name one by --store.")
    if target.exists():
        raise UsageError(f"File {target} exists and is not overwritten: give another name.")
    aside = target.with_name(f"{target.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with failures(where):
            runs = _copy(source, aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(target)
    except OSError as error:
        raise StorageError(f"The copy {target} cannot be written ({error.strerror}): check the folder.") from error
    finally:
        for each in (aside, aside.with_name(f"{aside.name}-journal")):
            each.unlink(missing_ok=True)
    return runs


def _copy(source: Path, aside: Path) -> int:
    with closing(sqlite3.connect(source.absolute())) as reading, closing(_made(aside)) as writing:
        reading.execute("PRAGMA busy_timeout = 30000")
        reading.backup(writing)  # in one step: what is committed meanwhile is not in it
        writing.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
        if writing.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise StorageError(f"The results database {source} is damaged: the copy of it did not pass its check.")
        try:
            return int(writing.execute("SELECT count(*) FROM run").fetchone()[0])
        except sqlite3.OperationalError as error:
            raise StorageError(f"The database {source} is none of bench's: name another by --store.") from error


def _made(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(path.absolute())  # some builds of SQLite take "file:x" for a URL
    except sqlite3.OperationalError as error:
        raise StorageError(f"The copy cannot be made in {path.parent}: check that the folder exists.") from error
