"""A database of each older version, committed as a file, is brought up to date and keeps what it holds."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect
from typer.testing import CliRunner

from bench.cli.main import app
from bench.errors import StorageError
from bench.experiments.experiment import Resources
from bench.experiments.resolve import resolve
from bench.methods.imagenet import ImageNet
from bench.methods.modules.single_network import SingleNetwork
from bench.results import details, migrations
from bench.results.reading import existing
from bench.results.store import Store
from bench.settings.request import Request
from tests.bench.results.test_store import IDENTITY, SCORES, finish

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    """Four runs: imagenet superseded and done, ours failed, ours without quadruplet done."""
    return Path(shutil.copy(FIXTURES / "store-v1.db", tmp_path / "bench.db"))


def shape(engine: Engine) -> dict[str, object]:
    """Tables with their columns, keys and indexes, as the database tells them."""
    looking = inspect(engine)
    found: dict[str, object] = {}
    for table in sorted(looking.get_table_names()):
        columns = {each["name"]: (str(each["type"]), each["nullable"]) for each in looking.get_columns(table)}
        keys = [
            (each["constrained_columns"], each["referred_table"], each["options"])
            for each in looking.get_foreign_keys(table)
        ]
        indexes = sorted(str(each["column_names"]) for each in looking.get_indexes(table))
        found[table] = (columns, looking.get_pk_constraint(table)["constrained_columns"], keys, indexes)
    return found


def test_there_is_a_fixture_of_every_older_version() -> None:
    for version in range(1, migrations.CURRENT):
        with closing(sqlite3.connect(f"file:{FIXTURES}/store-v{version}.db?mode=ro", uri=True)) as connection:
            assert connection.execute("SELECT version FROM schema_version").fetchall() == [(version,)]
    assert sorted(migrations.STEPS) == list(range(2, migrations.CURRENT + 1))


def test_version_1_keeps_its_runs_and_can_do_all_that_a_new_one_can(version_1: Path) -> None:
    store = Store(str(version_1))
    assert store.was == 1
    runs = store.runs()
    assert [(run.method, run.ablation, run.status) for run in runs] == [
        ("imagenet", "", "superseded"),
        ("imagenet", "", "done"),
        ("ours", "", "failed"),
        ("ours", "without quadruplet", "done"),
    ]
    assert [len(run.scores) for run in runs] == [40, 40, 0, 40]
    assert runs[1].value("mAP@all:plain") == pytest.approx(0.13558, abs=1e-5)
    assert [run.cost for run in runs] == [{}] * 4
    assert store.detail(runs[1].id, details.PER_QUERY) is None
    claim = store.claim(IDENTITY)
    store.beat(claim.run, "training")
    finish(store, claim.run, SCORES, {}, cost={"flops": 1.0}, details={details.PER_QUERY: b"values"})
    assert store.detail(claim.run, details.PER_QUERY) == b"values"
    store.close()
    again = Store(str(version_1))
    assert again.was == migrations.CURRENT
    again.close()


def test_an_upgraded_database_has_the_shape_of_a_new_one(version_1: Path, tmp_path: Path) -> None:
    Store(str(version_1)).close()
    Store(str(tmp_path / "new.db")).close()
    engines = [create_engine(f"sqlite:///{path}") for path in (version_1, tmp_path / "new.db")]
    upgraded, new = (shape(engine) for engine in engines)
    for engine in engines:
        engine.dispose()
    assert upgraded == new


def test_a_step_that_fails_leaves_the_older_version(version_1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(connection: object) -> None:
        migrations._costs(connection)  # type: ignore[arg-type]
        raise StorageError("the disk is full")

    monkeypatch.setitem(migrations.STEPS, 2, half)
    with pytest.raises(StorageError, match="the disk is full"):
        Store(str(version_1))
    with closing(sqlite3.connect(version_1)) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(1,)]
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"run", "score", "schema_version"}


def test_reading_an_older_one_does_not_change_it(version_2: Path) -> None:
    before = version_2.read_bytes()
    version_2.chmod(0o400)
    store = existing(str(version_2))
    assert store is not None
    assert (store.was, len(store.runs())) == (2, 8)
    folder = Path(str(store._engine.url.database)).parent
    assert folder.is_dir()
    store.close()
    assert not folder.exists()
    assert version_2.read_bytes() == before
    assert sorted(version_2.parent.iterdir()) == [version_2]


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    """Eight runs, of every kind that a request has to tell apart; the last was scored elsewhere."""
    return Path(shutil.copy(FIXTURES / "store-v2.db", tmp_path / "bench.db"))


REQUESTS = (
    "-m imagenet -d emoji --split emoji-93 --seed 0 --set image_size=32 --set epochs=0.05 --limit 1",
    "-m ours -d emoji --split emoji-93 --seed 0 --without quadruplet --set image_size=32 --set epochs=0.05 "
    "--set margin=0.5 --select oracle --limit 1",
    "-m ours -d emoji --split emoji-93 --seed 0 --set image_size=32 --set epochs=0.05 --set balanced=false "
    "--gallery all --limit 1",
    "-m imagenet -d folder --split draw2-seed0-4575cd4d --seed 0 --set name=mine --set draw=2 --set ink_crop=true "
    "--set image_size=32 --set backbone=tf_efficientnet_lite0 --precision bf16 --set root=PATH",
    "-m imagenet -d folder --split unseen-dff1c7a3 --seed 0 --set unseen=airplane,alarm-clock --set image_size=32 "
    "--set backbone=tf_efficientnet_lite0 --set root=PATH",
    "-m softmax -d emoji --split emoji-93 --seed 0 --set image_size=32 --set weights=FILE --set epochs=0.05 "
    "--set codes=itq-test --set bits=16 --limit 1",
    "--checkpoint RUN -d emoji --split emoji-93 --set rerank=icfrr --limit 1",
    "-m theirs -d emoji --split emoji-93 --seed 0 --limit 1",
)


@pytest.fixture
def versions_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """The versions of the methods that computed the runs, which are part of their keys."""
    for method in (ImageNet, SingleNetwork):
        monkeypatch.setattr(method, "version", 2)


@pytest.mark.usefixtures("versions_of_then")
def test_version_2_has_the_request_of_each_run(version_2: Path, resources: Resources) -> None:
    """A run whose data and weights are here gives the same key, and the request that is stored with it today."""
    store = Store(str(version_2))
    assert store.was == 2
    runs = store.runs()
    store.close()
    commands = [Request.from_json(run.request).command() for run in runs]
    assert [sorted(each.split(" --")) for each in commands] == [sorted(f"bench run {r}".split(" --")) for r in REQUESTS]
    for run in runs[:3]:
        experiment = resolve(Request.from_json(run.request), resources)
        assert (experiment.key, experiment.identity["request"]) == (run.key, dict(run.request))


@pytest.mark.usefixtures("versions_of_then")
def test_a_run_of_version_2_answers_its_command_without_computing(version_2: Path, runner: CliRunner) -> None:
    words = shlex.split(REQUESTS[1].replace("oracle", "oracle --format json"))
    result = runner.invoke(app, ["--store", str(version_2), "run", *words])
    assert result.exit_code == 0, result.stderr
    (told,) = json.loads(result.stdout)["runs"]
    assert (told["run"], told["already_done"]) == (2, True)
