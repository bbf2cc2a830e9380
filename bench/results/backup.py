"""A copy of the results database while others write to it: SQLite's online backup."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from bench.errors import IncompleteError, StorageError, UsageError
from bench.io import temporary_beside
from bench.results.database import database_file, failures, plain, reading_uri


def backup(where: str, target: Path) -> int:
    """Copy the database at ``where``, as it is at one moment, to the file ``target``; return the number of its runs.

    The copy gets its name once it is checked and flushed to the disk. Raises UsageError for a target that exists or a
    database of a server, IncompleteError without a database, and StorageError when it cannot be read, is not one of
    bench, or the copy cannot be written. No file is left then.
    """
    source = database_file(where)
    if source is None:
        raise UsageError(f"'bench store backup' copies SQLite files, not {plain(where)}: use pg_dump of the server.")
    if not source.exists():
        raise IncompleteError(f"There is no results database {source}: name one by --store.")
    if target.exists():
        raise UsageError(f"File {target} exists and is not overwritten: give another name.")
    temporary = temporary_beside(target)
    try:
        temporary.touch()
        with failures(where):
            runs = _copy(source, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise StorageError(f"The copy {target} cannot be written ({error.strerror}): check the folder.") from error
    finally:
        for each in (temporary, temporary.with_name(f"{temporary.name}-journal")):
            each.unlink(missing_ok=True)
    return runs


def _copy(source: Path, target: Path) -> int:
    # Absolute paths, since some builds of SQLite take "file:x" for a URL.
    reader = closing(sqlite3.connect(reading_uri(source), uri=True))
    with reader as source_database, closing(sqlite3.connect(target.absolute())) as writer:
        source_database.execute("PRAGMA busy_timeout = 30000")
        source_database.backup(writer)  # in one step, without what others commit meanwhile
        writer.execute("PRAGMA journal_mode = DELETE")  # one file, without a log
        if writer.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise StorageError(f"The results database {source} is damaged: its copy did not pass the check.")
        try:
            return int(writer.execute("SELECT count(*) FROM run").fetchone()[0])
        except sqlite3.OperationalError as error:
            raise StorageError(f"The database {source} is not one of bench: name another by --store.") from error
