"""Opening a results database, and its failures as sentences: SQLite by path, anything else by SQLAlchemy URL."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from bench.errors import DatabaseError, StorageError, UsageError

log = logging.getLogger("bench.results.database")

BUSY_MILLISECONDS = 30_000  # how long a lock of another process is waited for
CONNECT_SECONDS = 10  # how long a server may take to answer
SHORT_URL = "postgresql://"  # without a driver's name SQLAlchemy takes psycopg2, which the project does not use


def open_engine(where: str) -> Engine:
    """An engine for a path or URL.

    Raises StorageError for a place that cannot hold a file, UsageError for a wrong URL.
    """
    if "://" not in where:
        path = Path(where)
        if path.is_dir() or not path.parent.is_dir():
            what = "is a folder" if path.is_dir() else f"lies in a folder that does not exist ({path.parent})"
            raise StorageError(f"The results database {where} {what}: give a file's path by --store.")
        # In the text of a URL "?" and "%41" would have a meaning.
        url: URL | str = URL.create("sqlite", database=str(path))
    elif where.startswith(SHORT_URL):
        url = f"postgresql+psycopg://{where.removeprefix(SHORT_URL)}"
    else:
        url = where
    try:
        url = make_url(url)
        engine = create_engine(url, **_options(url.get_backend_name()))
    except (ArgumentError, ImportError) as error:
        cure = " (install the project's extra 'postgresql')" if "psycopg" in str(error) else ""
        raise UsageError(f"--store takes a path or an SQLAlchemy URL, not {plain(where)!r}: {error}{cure}.") from error
    except ValueError as error:  # its text may hold what comes behind a colon, which may be a password
        raise UsageError(
            f"--store takes a path or an SQLAlchemy URL, not {plain(where)!r}: its port is no number."
        ) from error
    if "@" in (url.host or ""):  # the end of a password, which the driver would print as a host that is not found
        engine.dispose()
        raise UsageError(
            f"The user or password in --store {plain(where)!r} holds an @ that looks like the end of it: write it %40."
        )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    return engine


def _options(backend: str) -> dict[str, Any]:
    """What a server's engine needs that a file's does not: a check that the line still holds, and the time-outs."""
    if backend != "postgresql":
        return {}
    arguments = {"connect_timeout": CONNECT_SECONDS, "options": f"-c lock_timeout={BUSY_MILLISECONDS}"}
    return {"pool_pre_ping": True, "connect_args": arguments}


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # BEGIN is sent below: sqlite3's own would come too late to be IMMEDIATE
    # The time-out first: whatever follows may have to wait for another process.
    for pragma in (f"busy_timeout = {BUSY_MILLISECONDS}", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def choose_journal(engine: Engine) -> None:
    """Write-ahead logging for SQLite, so that readers and the writer do not wait for each other.

    Call it only for a file that is known to be bench's: the choice is written into it. Where the file system does not
    allow it, the journal is DELETE and a warning is logged. Raises what sqlite3 raises.
    """
    if engine.dialect.name != "sqlite":
        return
    with closing(engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
        try:
            found = _set_journal(cursor, "WAL")  # no write where it is that already
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise
            found = str(error)
        if found not in ("wal", "memory"):
            _set_journal(cursor, "DELETE")
            log.warning(
                "SQLite cannot log ahead on this file system (%s): the results database is locked as a whole for each "
                "write. Write from one machine at a time, or give a PostgreSQL URL by --store.",
                found,
            )


def _set_journal(cursor: Any, mode: str) -> str:
    return str(cursor.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0])


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once when another one wrote between, whatever the
    # time-out; so one that will write asks for the lock when it begins.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def database_file(where: str) -> Path | None:
    """The file of a SQLite database; None for a server's, or one in memory."""
    if "://" not in where:
        return Path(where)
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):  # opening it says what is wrong
        return None
    named = url.database if url.get_backend_name() == "sqlite" else None
    if not named or named == ":memory:" or (named.startswith("file:") and "uri" in url.query):
        return None
    return Path(named)


class SameFile:
    """The file of a SQLite database, to notice that it was removed, moved or replaced while it is in use.

    SQLite itself goes on with such a file, and nobody would find what it writes.
    """

    def __init__(self, where: str) -> None:
        self._where, file = where, database_file(where)
        self._file = file.absolute() if file is not None else None
        self._inode = self._current()

    def check(self) -> None:
        """Raise DatabaseError unless the path leads to the same file as before."""
        if self._current() != self._inode:
            raise DatabaseError(
                f"The results database {plain(self._where)} was removed, moved or replaced while it was in use: put it "
                "back."
            )

    def _current(self) -> tuple[int, int] | None:
        try:
            facts = self._file.stat() if self._file is not None else None
        except OSError:
            return None
        return (facts.st_dev, facts.st_ino) if facts is not None else None


@contextmanager
def failures(where: str) -> Iterator[None]:
    """Raise what a database or its driver complains of as DatabaseError, one sentence without a password."""
    try:
        yield
    except DBAPIError as error:
        raise DatabaseError(f"The results database {plain(where)} {_reason(error.orig)}.") from error
    except sqlite3.Error as error:  # said outside SQLAlchemy: pragmas, the online backup
        raise DatabaseError(f"The results database {plain(where)} {_reason(error)}.") from error
    except SQLAlchemyError as error:
        raise DatabaseError(f"The results database {plain(where)} failed ({error}).") from error


def plain(where: str) -> str:
    """A path or URL without a password: SQLAlchemy masks it, and parameters, which may hold one, are left out.

    Of a URL that cannot be read the scheme alone.
    """
    if "://" not in where:
        return where
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        url = None
    if url is None or "@" in (url.host or ""):
        return f"{where.partition('://')[0]}://..."
    return url.set(query={}).render_as_string(hide_password=True)


def _reason(error: BaseException | None) -> str:
    said = str(error).strip()
    for part, reason in (
        ("not a database", "is not a database file: it was left as it is; give another path by --store"),
        ("malformed", "is damaged: restore a copy, or give another path by --store"),
        ("readonly", "is not writable: change its permissions or give another path by --store"),
        ("unable to open", "cannot be opened or made: check the path and its permissions"),
        ("locked", "is locked by another program: wait for it to end and ask again"),
        ("lock timeout", "is locked by another program: wait for it to end and ask again"),
        ("full", "cannot grow, the disk is full: free some space and ask again"),
        ("disk I/O error", "cannot be written (disk full or failing): free some space and ask again"),
        ("connection timeout", "cannot be reached: check that the server runs and the URL is right"),
        ("connection is bad", "cannot be reached: check that the server runs and the URL is right"),
        ("connection failed", "cannot be reached: check that the server runs and the URL is right"),
    ):
        if part in said:
            return reason
    return f"failed ({said.splitlines()[0] if said else 'no reason given'})"
