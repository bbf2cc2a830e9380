"""Connections to a results database (SQLite by path, others by SQLAlchemy URL), and its errors as sentences."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from bench.errors import DatabaseError, StorageError, UsageError

log = logging.getLogger("bench.results.database")

BUSY_MILLISECONDS = 30_000  # longest wait for a lock of another process
CONNECT_SECONDS = 10  # longest wait for a server's answer
# Error texts of SQLite and PostgreSQL, and what the user reads.
REASONS = {
    "not a database": "is not a database file: nothing was changed; give another path by --store",
    "malformed": "is damaged: restore a copy, or give another path by --store",
    "readonly": "is not writable: change its permissions or give another path by --store",
    "unable to open": "cannot be opened or created: check the path and its permissions",
    "locked|lock timeout": "is locked by another program: wait until it ends and try again",
    "full": "cannot grow, the disk is full: free some space and try again",
    "disk I/O error": "cannot be written (disk full or failing): free some space and try again",
    "connection (timeout|is bad|failed)": "cannot be reached: check that the server runs and the URL is right",
}


def open_engine(where: str, *, reads: bool = False) -> Engine:
    """An engine for a path or URL; one that only ``reads`` changes no byte of a SQLite file.

    Raises StorageError for a folder or a missing one, UsageError for a wrong URL.
    """
    if "://" not in where:
        path = Path(where)
        if path.is_dir() or not path.parent.is_dir():
            what = "is a folder" if path.is_dir() else f"needs the folder {path.parent}, which does not exist"
            raise StorageError(f"The results database {where} {what}: give a file's path by --store.")
    try:
        # A path is no text of a URL, where "?" and "%41" have a meaning.
        url = make_url(where) if "://" in where else URL.create("sqlite", database=where)
        file = database_file(where)
        if url.drivername == "postgresql":  # for which SQLAlchemy would take psycopg2, and bench has psycopg
            url = url.set(drivername="postgresql+psycopg")
        if "@" in (url.host or ""):  # the driver would print the end of the password as an unknown host
            raise UsageError(f"The user or password in --store {plain(where)!r} contains an @: write it as %40.")
        if reads and file is not None and not url.query:
            name, _, mode = reading_uri(file).partition("?")
            url = url.set(database=name, query={**dict([mode.split("=")]), "uri": "true"})
        arguments = {"connect_timeout": CONNECT_SECONDS, "options": f"-c lock_timeout={BUSY_MILLISECONDS}"}
        server = {"pool_pre_ping": True, "connect_args": arguments}
        engine = create_engine(url, **(server if url.get_backend_name() == "postgresql" else {}))
    except (ArgumentError, ImportError) as error:
        cure = " (install the project's extra 'postgresql')" if "psycopg" in str(error) else ""
        raise UsageError(f"--store takes a path or an SQLAlchemy URL, not {plain(where)!r}: {error}{cure}.") from error
    except ValueError as error:  # its text may hold a part of the password
        raise UsageError(
            f"--store takes a path or an SQLAlchemy URL, not {plain(where)!r}: its port is not a number."
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # sqlite3 begins too late for BEGIN IMMEDIATE; ``_begin`` does
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")  # first: the next may wait for another process
    connection.execute("PRAGMA foreign_keys = ON")


def choose_journal(engine: Engine) -> None:
    """Set write-ahead logging for SQLite, so that readers and the writer do not wait for each other.

    Call it only for a database of bench, since the file stores the mode. Where the file system does not allow it, the
    journal is DELETE and a warning is logged. Raises the errors of sqlite3.
    """
    if engine.dialect.name != "sqlite":
        return
    with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        try:
            mode = _set_journal(cursor, "WAL")  # writes nothing where it is set already
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise
            mode = str(error)
        if mode not in ("wal", "memory"):
            _set_journal(cursor, "DELETE")
            log.warning(
                "SQLite has no write-ahead log on this file system (%s): each write locks the whole results database. "
                "Write from one machine at a time, or give a PostgreSQL URL by --store.",
                mode,
            )


def _set_journal(cursor: Any, mode: str) -> str:
    return str(cursor.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0])


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once, despite the time-out, if another process wrote in
    # between. So one that will write takes the lock when it begins.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def database_file(where: str) -> Path | None:
    """The file of a SQLite database; None for a server or memory."""
    if "://" not in where:
        return Path(where)
    with suppress(ArgumentError, ValueError):  # which ``open_engine`` reports
        url = make_url(where)
        name = url.database or ":memory:"
        is_uri = name.startswith("file:") and "uri" in url.query
        if url.get_backend_name() == "sqlite" and name != ":memory:" and not is_uri:
            return Path(name)
    return None


def reading_uri(file: Path) -> str:
    """The URI by which SQLite reads a file without changing it, also where nothing can be written."""
    logs = [file.with_name(f"{file.name}-{kind}") for kind in ("wal", "journal")]
    in_wal, in_journal = (log.is_file() and log.stat().st_size > 0 for log in logs)
    mode = "mode=rw"
    if in_wal:  # of a process that writes now, or was killed: the last reader would move it into the file
        mode = "mode=ro"
    elif not in_journal and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)):
        mode = "immutable=1"  # without it SQLite makes files beside the database
    return f"file:{quote(os.fsencode(file.absolute()))}?{mode}"


def inode(file: Path | None) -> tuple[int, int] | None:
    """Device and inode of a file; None without one."""
    with suppress(OSError):
        if file is not None:
            facts = file.stat()
            return facts.st_dev, facts.st_ino
    return None


@contextmanager
def failures(where: str) -> Iterator[None]:
    """Raise the errors of a database or driver as DatabaseError, one sentence without a password."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:  # sqlite3's own: pragmas, the online backup
        text = str(getattr(error, "orig", error)).strip()
        other = f"failed ({text.splitlines()[0] if text else 'no reason given'})"
        reason = next((reason for pattern, reason in REASONS.items() if re.search(pattern, text)), other)
        raise DatabaseError(f"The results database {plain(where)} {reason}.") from error


def plain(where: str) -> str:
    """A path or URL without its password and its parameters; only the scheme of a URL that cannot be parsed."""
    if "://" not in where:
        return where
    with suppress(ArgumentError, ValueError):
        url = make_url(where)
        if "@" not in (url.host or ""):
            return url.set(query={}).render_as_string(hide_password=True)
    return f"{where.partition('://')[0]}://..."
