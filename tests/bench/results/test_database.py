"""How the results database is opened, and what its failures are called."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import OperationalError
from typer.testing import CliRunner

from bench.cli.dry_run import store_option
from bench.cli.main import app
from bench.errors import StorageError, UsageError
from bench.results import database, migrations
from bench.results.database import database_file, failures, open_engine, plain
from bench.results.outcomes import outcome_folder
from bench.results.reading import existing
from bench.results.store import Store
from tests.bench.results.test_store import IDENTITY, SCORES, finish

# Names of files that mean something else in a URL.
NAMES = ["a?b.db", "a%41.db", "a%3Fb.db", "a#b.db", "a b.db", "ä.db", "file:x", "a?mode=ro&uri=true", "a&b=c;d+e@f.db"]


def pragma(where: Path, name: str) -> object:
    engine = open_engine(str(where))
    with engine.connect() as connection:
        value = connection.execute(text(f"PRAGMA {name}")).scalar()
    engine.dispose()
    return value


def test_sqlite_waits_for_locks_keeps_foreign_keys_and_writes_ahead(tmp_path: Path) -> None:
    path = tmp_path / "bench.db"
    Store(str(path)).close()
    assert pragma(path, "busy_timeout") == 30_000
    assert pragma(path, "foreign_keys") == 1
    assert pragma(path, "journal_mode") == "wal"


def test_the_time_out_comes_before_everything_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []

    class Recording(sqlite3.Connection):
        def execute(self, sql: str, *more: object) -> sqlite3.Cursor:
            said.append(sql)
            return super().execute(sql, *more)  # type: ignore[arg-type]

    with closing(sqlite3.connect(tmp_path / "x.db", factory=Recording)) as connection:
        database._prepare(connection, None)
    assert said == ["PRAGMA busy_timeout = 30000", "PRAGMA foreign_keys = ON"]


def test_where_the_log_does_not_work_the_file_is_locked_as_a_whole_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite's own refusal, where files are locked without shared memory, and an error that it raises elsewhere."""
    path, set_journal = tmp_path / "bench.db", database._set_journal

    def fails(cursor: sqlite3.Cursor, mode: str) -> str:
        if mode == "WAL":
            raise sqlite3.OperationalError("disk I/O error")
        return set_journal(cursor, mode)

    for where in (f"sqlite:///file:{path}?vfs=unix-dotfile&uri=true", str(path)):
        caplog.clear()
        store = Store(where)
        finish(store, store.begin(IDENTITY), SCORES, {})
        store.close()
        assert pragma(path, "journal_mode") == "delete"
        assert "write-ahead" in caplog.text
        assert "PostgreSQL" in caplog.text
        monkeypatch.setattr(database, "_set_journal", fails)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_newer_database_is_left_as_it_was_to_the_last_byte(journal: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.db"
    store = Store(str(path))
    store.begin(IDENTITY)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE schema_version SET version = {migrations.CURRENT + 1}")
        connection.commit()
        connection.execute(f"PRAGMA journal_mode = {journal}")
    before = path.read_bytes()
    for opening in (Store, existing):
        with pytest.raises(StorageError, match="update bench to use it"):
            opening(str(path))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["bench.db"]


def test_a_database_of_another_program_keeps_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")
    before = path.read_bytes()
    with pytest.raises(StorageError, match="of another program"):
        Store(str(path))
    assert path.read_bytes() == before


def test_looking_makes_nothing_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bench.db"
    assert existing(str(path)) is None
    assert existing(f"sqlite:///{path}") is None
    assert list(tmp_path.iterdir()) == []
    Store(str(path)).close()
    before = path.read_bytes()
    store = existing(str(path))
    assert store is not None
    assert store.runs() == []
    store.close()
    assert path.read_bytes() == before


def test_a_lock_that_outlasts_the_time_out_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bench.db"
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 20)
    store = Store(str(path))
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="is locked by another program"):
            store.begin(IDENTITY)
        assert store.runs() == []  # readers do not wait
        other.rollback()
    store.begin(IDENTITY)
    store.close()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("database or disk is full", "cannot grow, the disk is full: free some space"),
        ("disk I/O error", "cannot be written (disk full or failing)"),
        ("database disk image is malformed", "is damaged: restore a copy"),
        ("canceling statement due to lock timeout", "is locked by another program"),
        ("something else\nand more", "failed (something else)"),
        ("", "failed (no reason given)"),
    ],
)
def test_failures_are_one_sentence(said: str, told: str) -> None:
    with pytest.raises(StorageError) as caught, failures("postgresql://me:secret@host/base"):
        raise sqlite3.OperationalError(said)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_store_is_the_very_file_that_was_named(name: str, runner: CliRunner, tmp_path: Path) -> None:
    """``runner`` works in an empty folder."""
    store = Store(name)
    finish(store, store.begin(IDENTITY), SCORES, {})
    store.close()
    assert [each.name for each in Path().iterdir()] == [name]
    for words, code in (
        (["list", "runs", "--store", name], 0),
        (["store", "backup", f"copy of {name}", "--store", name], 0),
        (["store", "merge", name, "--store", f"all of {name}"], 0),
        (["store", "merge", f"copy of {name}", "--store", f"all of {name}"], 0),
        (["store", "migrate", "--store", f"copy of {name}"], 0),
        (["store", "merge", f"./{name}", "--store", name], 2),
    ):
        assert (result := runner.invoke(app, words)).exit_code == code, result.output
    expected = {name, f"copy of {name}", f"all of {name}"}
    assert {each.name for each in Path().iterdir() if not each.name.endswith(("-wal", "-shm"))} == expected
    for each in expected:
        stored = existing(each)
        assert stored is not None
        assert [run.status for run in stored.runs()] == ["done"]
        stored.close()
    _, anywhere = store_option(name)
    url = URL.create("sqlite", database=name).render_as_string()
    assert database_file(anywhere) == database_file(store_option(url)[1]) == Path(name).resolve()
    assert outcome_folder(name, tmp_path) == outcome_folder(url, tmp_path) == outcome_folder(anywhere, tmp_path)


def test_whose_file_it_is() -> None:
    assert database_file("bench.db") == Path("bench.db")
    assert database_file("sqlite:///some/bench.db") == Path("some/bench.db")
    assert database_file("sqlite://") is None
    assert database_file("postgresql://host/base") is None
    assert database_file("no url://") is None


def test_a_url_names_the_file_that_sqlite_opens(tmp_path: Path) -> None:
    for name in NAMES:
        where = URL.create("sqlite", database=str(tmp_path / name)).render_as_string()
        assert database_file(where) == tmp_path / name
        Store(where).close()
        assert sorted(each.name for each in tmp_path.iterdir()) == [name]
        (tmp_path / name).unlink()
    assert database_file("sqlite:///file:x") == Path("file:x")
    assert database_file("sqlite:///file:x?mode=ro&uri=true") is None


def test_a_short_url_takes_the_driver_of_the_project() -> None:
    engine = open_engine("postgresql://someone:secret@nowhere.invalid/base")
    assert engine.dialect.driver == "psycopg"
    assert "secret" not in plain("postgresql://someone:secret@nowhere.invalid/base")
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://me:topsecret@host:notaport/base", "port"),
        ("postgresql://me:topsecret", "port"),  # the host was forgotten
        ("postgresql://me:top@secret@host/base", "%40"),
        ("nosuch://me:topsecret@host/base", "not 'nosuch://me:***@host/base'"),
        ("://me:topsecret@host", "takes a path or an SQLAlchemy URL"),
    ],
)
def test_a_url_that_cannot_be_read_is_told_without_its_password(url: str, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)) as caught:
        open_engine(url)
    assert "secret" not in str(caught.value)
    assert "secret" not in plain(url)
    assert database_file(url) is None


def test_a_password_among_a_url_s_parameters_is_hidden() -> None:
    shown = plain("postgresql://host/base?user=me&password=topsecret&sslpassword=topsecret")
    assert shown == "postgresql://host/base"


def test_a_transaction_that_will_write_begins_with_the_lock(tmp_path: Path) -> None:
    """Two that read first and write later would otherwise fail at once, whatever the time-out."""
    path = tmp_path / "bench.db"
    store = Store(str(path))
    other = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0.0})
    with store.writing() as session:
        assert session.execute(text("SELECT count(*) FROM run")).scalar() == 0  # it only reads so far
        with pytest.raises(OperationalError, match="locked"), other.begin() as connection:
            connection.execute(text("DELETE FROM run"))
    other.dispose()
    store.close()
