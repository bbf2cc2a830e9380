"""Opening a results database, and its failures as sentences: SQLite by path, anything else by SQLAlchemy URL."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from bench.errors import DatabaseError, StorageError, UsageError

log = logging.getLogger("bench.results.database")

BUSY_MILLISECONDS = 30_000  # how long a lock of another process is waited for
CONNECT_SECONDS = 10  # how long a server may take to answer
SHORT_URL = "postgresql://"  # without a driver's name SQLAlchemy takes psycopg2, which the project does not use
SECRET = re.compile(r"(?i)pass|secret|token|key")  # in the name of a URL's parameter, such as libpq's password
# Names in /proc/mounts, without "fuse.": several of these come either way.
NETWORK_FILE_SYSTEMS = (
    *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afs", "davfs", "sshfs", "rclone", "s3fs", "9p"),
    *("lustre", "gpfs", "beegfs", "ceph", "ceph-fuse", "glusterfs", "ocfs2", "gfs2", "orangefs", "juicefs"),
    *("vboxsf", "vmhgfs-fuse"),
)


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
    """Write-ahead logging for SQLite, so that readers and the writer do not wait for each other; not on network disks.

    To be called when the file is known to be ours: the choice is written into it. Logs a warning on a network file
    system, where the log's shared memory does not work. Raises what sqlite3 raises.
    """
    if engine.dialect.name != "sqlite":
        return
    networked = on_network(engine.url.database or "")
    if networked:
        log.warning(
            "The results database lies on a network file system: it is locked as a whole (journal DELETE). Let one "
            "machine at a time write to it, or give a PostgreSQL URL by --store."
        )
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        wanted = "DELETE" if networked else "WAL"
        cursor.execute(f"PRAGMA journal_mode = {wanted}")  # no write where it is that already
        cursor.close()
    finally:
        connection.close()


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


def on_network(path: str, mounts: str | None = None) -> bool:
    """Whether a file lies on a file system where SQLite's WAL does not work; ``mounts`` is the text of /proc/mounts."""
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text()
        except OSError:  # no Linux: nothing is known
            return False
    place = str(Path(path).resolve())
    kinds = {}
    for line in mounts.splitlines():
        _, mount, kind, *_ = line.split()
        mount = mount.replace("\\040", " ")  # how the kernel writes a blank
        if place == mount or place.startswith(mount.rstrip("/") + "/"):
            kinds[mount] = kind
    return bool(kinds) and kinds[max(kinds, key=len)].removeprefix("fuse.") in NETWORK_FILE_SYSTEMS


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
    """A path or URL without a password in it; of a URL that cannot be read the scheme alone."""
    if "://" not in where:
        return where
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        url = None
    if url is None or "@" in (url.host or ""):
        return f"{where.partition('://')[0]}://..."
    return url.difference_update_query(_secrets(url)).render_as_string(hide_password=True)


def holds_secret(where: str) -> bool:
    """Whether a URL has a password in it, or what may be one since it cannot be read."""
    if "://" not in where:
        return False
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        return True
    return url.password is not None or "@" in (url.host or "") or bool(_secrets(url))


def _secrets(url: URL) -> list[str]:
    return [name for name in url.query if SECRET.search(name)]


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
