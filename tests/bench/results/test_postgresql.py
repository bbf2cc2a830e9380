"""The results database of a group: everything that SQLite does, on a real PostgreSQL server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from bench.cli.main import app
from bench.errors import StorageError, UsageError
from bench.results import database, migrations
from bench.results.backup import backup
from bench.results.merge import merge
from bench.results.outcomes import enter_left, outcome_folder
from bench.results.reading import existing
from bench.results.store import Claim, Store
from tests.bench.results import postgresql
from tests.bench.results.test_many_at_once import PROCESSES, count, work
from tests.bench.results.test_migrations import shape
from tests.bench.results.test_store import IDENTITY, SCORES, finish
from tests.processes import start

pytestmark = pytest.mark.skipif(bool(postgresql.why_not()), reason=postgresql.why_not())

# Version 1 as SQLAlchemy made it of the models of that time.
VERSION_1 = """
CREATE TABLE run (id SERIAL PRIMARY KEY, key VARCHAR(64) NOT NULL, method VARCHAR NOT NULL, ablation VARCHAR NOT NULL,
  dataset VARCHAR NOT NULL, split VARCHAR NOT NULL, fingerprint VARCHAR(64) NOT NULL, seed INTEGER NOT NULL,
  selection VARCHAR NOT NULL, gallery VARCHAR NOT NULL, per_class_limit INTEGER, configuration JSON NOT NULL,
  environment JSON NOT NULL, seconds JSON NOT NULL, status VARCHAR NOT NULL, failure VARCHAR NOT NULL,
  started VARCHAR NOT NULL, ended VARCHAR NOT NULL);
CREATE INDEX ix_run_key ON run (key);
CREATE TABLE score (id SERIAL PRIMARY KEY, run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  family VARCHAR NOT NULL, k INTEGER, definition VARCHAR NOT NULL, average VARCHAR NOT NULL, value DOUBLE PRECISION,
  queries INTEGER NOT NULL, skipped INTEGER NOT NULL);
CREATE INDEX ix_score_run_id ON score (run_id);
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO schema_version VALUES (1);
INSERT INTO run VALUES (DEFAULT, 'old', 'imagenet', '', 'emoji', 'emoji-93', 'f', 0, 'last', 'unseen', NULL,
  '{"run": {}}', '{}', '{}', 'done', '', '2026-01-01T00:00:00+00:00', '2026-01-01T00:00:01+00:00');
INSERT INTO score VALUES (DEFAULT, 1, 'mAP', NULL, 'plain', 'queries', 0.5, 431, 0);
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql.server() as url:
        yield url


@pytest.fixture
def url(server: str) -> str:
    """An empty database."""
    engine = database.open_engine(server)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return server


def test_a_run_comes_back_as_it_was_stored(url: str) -> None:
    assert existing(url) is None
    store = Store(url)
    assert store.was is None
    claim = store.claim(IDENTITY)
    assert store.claim(IDENTITY) == Claim("busy", claim.run)
    store.beat(claim.run, "training (1/9)")
    assert store.doing()[claim.run][1] == "training (1/9)"
    blob = bytes(range(256)) * 100
    finish(store, claim.run, SCORES, {"training": 1.5}, cost={"flops": 2.0}, details={"per-query": blob})
    found = store.find("k1")
    assert found is not None
    assert found.scores[:2] == tuple(SCORES[:2])
    assert {name: getattr(found, name) for name in IDENTITY} == IDENTITY
    assert store.detail(claim.run, "per-query") == blob
    assert store.claim(IDENTITY) == Claim("done", claim.run)
    assert store.claim(IDENTITY, force=True).answer == "yours"
    assert store.runs(id=[]) == []
    store.close()
    looked = existing(url)
    assert looked is not None
    assert looked.was == migrations.CURRENT
    looked.close()


def test_eight_processes_lose_nothing_and_compute_nothing_twice(url: str) -> None:
    processes = [start(work, url, number) for number in range(PROCESSES)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    count(url)


def test_two_that_claim_at_the_same_moment(url: str) -> None:
    """One of them has the key's lock; the others wait, and see its lease when they look."""
    store = Store(url)
    answers: list[str] = []
    gate = threading.Barrier(6)

    def claim() -> None:
        mine = Store(url)
        gate.wait()
        answers.append(mine.claim(IDENTITY).answer)
        mine.close()

    threads = [threading.Thread(target=claim) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["busy"] * 5 + ["yours"]
    assert len(store.runs()) == 1
    store.close()


def test_no_other_process_claims_a_run_between_the_look_and_the_entry_of_a_lease(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it could begin and end there, and would be computed again."""
    store, other = Store(url), Store(url)
    enter, answers = store._enter, list[str]()
    late = threading.Thread(target=lambda: answers.append(other.claim(IDENTITY).answer))

    def enter_late(session: Any, identity: Any) -> int:
        late.start()
        late.join(0.3)
        assert answers == []
        return enter(session, identity)

    monkeypatch.setattr(store, "_enter", enter_late)
    mine = store.claim(IDENTITY)
    late.join()
    assert (mine.answer, answers) == ("yours", ["busy"])
    finish(store, mine.run, SCORES, {})
    assert other.claim(IDENTITY) == Claim("done", mine.run)
    assert store.doing() == {}
    store.close()
    other.close()


def test_version_1_is_brought_up_to_date_and_has_the_shape_of_a_new_one(url: str) -> None:
    engine = database.open_engine(url)
    with engine.begin() as connection:
        for statement in VERSION_1.split(";\n"):
            if statement.strip():
                connection.execute(text(statement))
    with pytest.raises(StorageError, match="bench store migrate"):
        existing(url)
    store = Store(url)
    assert store.was == 1
    assert [(run.key, run.value("mAP@all:plain")) for run in store.runs()] == [("old", 0.5)]
    run = store.claim(IDENTITY).run
    finish(store, run, SCORES, {}, details={"per-query": b"\0\1"})
    assert store.detail(run, "per-query") == b"\0\1"
    store.close()
    upgraded = shape(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    Store(url).close()
    new = shape(engine)
    engine.dispose()
    assert upgraded == new


def test_the_largest_seed_and_limit_are_merged(url: str, tmp_path: Path) -> None:
    """Of an integer of 64 bits, which a column of PostgreSQL's type INTEGER does not take."""
    source = str(tmp_path / "source.db")
    store = Store(source)
    finish(store, store.begin({**IDENTITY, "seed": 2**63 - 1, "per_class_limit": 2**63 - 1}), SCORES, {})
    store.close()
    (merged,) = merge(url, tmp_path, [source])
    store = Store(url)
    assert (merged.new, [(run.seed, run.per_class_limit) for run in store.runs()]) == (1, [(2**63 - 1, 2**63 - 1)])
    store.close()


def test_a_newer_database_is_refused(url: str) -> None:
    store = Store(url)
    store.close()
    engine = database.open_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    engine.dispose()
    with pytest.raises(StorageError, match="schema version 99") as caught:
        Store(url)
    assert "secret" not in str(caught.value)


def test_a_lock_that_outlasts_the_time_out_is_told_in_words(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(url).close()
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 50)
    store = Store(url)
    other = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with other.begin() as connection:
        connection.execute(text("LOCK TABLE run IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(StorageError, match="is locked by another program"):
            store.begin(IDENTITY)
    store.begin(IDENTITY)  # the line still holds, or a new one was made
    other.dispose()
    store.close()


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be reached: check that the server runs") as caught:
        Store(f"postgresql://me:secret@/base?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_the_command_line_never_shows_the_password(
    url: str, runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--store", url]
    monkeypatch.setattr("sys.argv", ["bench", "run", *words])
    assert runner.invoke(app, ["run", "-m", "imagenet", "--limit", "1", "--image-size", "32", *words]).exit_code == 0
    outputs = [
        runner.invoke(app, [*command, *words])
        for command in (
            ["list", "runs"],
            ["show", "1"],
            ["store", "migrate"],
            ["doctor"],
            ["report", "--include-smoke"],
            ["run", "-m", "imagenet", "--limit", "1", "--image-size", "32", "--dry-run", "--format", "json"],
        )
    ]
    assert [output.exit_code for output in outputs] == [0] * 6
    refused = runner.invoke(app, ["store", "backup", "copy.db", *words])
    assert refused.exit_code == 2
    assert "pg_dump" in refused.stderr
    assert all("secret" not in output.output for output in (*outputs, refused))
    store = Store(url)
    (stored,) = store.runs()
    store.close()
    assert stored.environment["command"] == "bench run --store postgresql://..."
    assert "secret" not in str(stored)  # nor does the database hold it
    with pytest.raises(UsageError, match="pg_dump"):
        backup(url, Path("copy.db"))


def test_a_server_that_goes_away_in_a_sweep_loses_nothing(
    url: str, runner: CliRunner, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket is taken away and every line to it is cut when the first run is to be stored."""
    (socket,) = Path(url.partition("host=")[2]).glob(".s.PGSQL.*[0-9]")
    away = socket.with_name("away")
    finish = Store.finish

    def cut(store: Store, *arguments: Any, **keywords: Any) -> None:
        if store.where == url and not away.exists():
            engine = database.open_engine(url)
            with engine.begin() as connection:
                mine = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                connection.execute(text(f"{mine} AND backend_type = 'client backend'"))
                socket.rename(away)
            engine.dispose()
        finish(store, *arguments, **keywords)

    monkeypatch.setattr(Store, "finish", cut)
    words = ["run", "-m", "imagenet", "--limit", "1", "--image-size", "32", "--seeds", "2", "--store", url]
    lost = runner.invoke(app, words)
    assert lost.exit_code == 6, lost.output
    assert "secret" not in lost.output
    assert "cannot be reached: check that the server runs" in lost.stderr
    assert len(list(outcome_folder(url, shared_cache).iterdir())) == 2
    away.rename(socket)
    monkeypatch.undo()
    monkeypatch.setenv("BENCH_CACHE_DIR", str(shared_cache))
    store = Store(url)
    assert store.runs(status="done") == []
    assert enter_left(store, shared_cache).new == 2
    assert [run.seed for run in store.runs(status="done")] == [0, 1]
    store.close()
