"""A disk that is full (a limit on file sizes): exit 6, what was committed intact, no half-written file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.errors import StorageError
from bench.files import write_whole
from bench.store import Store
from tests.bench.test_store import IDENTITY, SCORES
from tests.pictures import words_of, write_folder
from tests.processes import bench


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"))


def committed(folder: Path) -> int:
    """A store with one finished run."""
    store = Store(str(folder / "bench.db"))
    run = store.begin(IDENTITY)
    store.finish(run, SCORES, {}, details={"per-query": b"x" * 100})
    store.close()
    return run


def intact(folder: Path, run: int) -> list[tuple[str, str]]:
    """Statuses of the other runs, once the committed one was found whole."""
    store = Store(str(folder / "bench.db"))
    found = store.runs()
    assert len(found[0].scores) == len(SCORES)
    assert store.detail(run, "per-query") == b"x" * 100
    store.close()
    return [(each.status, each.failure) for each in found[1:]]


def test_a_checkpoint_that_does_not_fit(pictures: Path, tmp_path: Path) -> None:
    run = committed(tmp_path)
    call = words_of(pictures, "--epochs", "2", "--without", "preservation")
    ended = bench(
        tmp_path, "run", "-m", "ours", *call, file_limit=2_000_000
    )  # the database fits, a checkpoint does not
    assert ended.code == 6, ended.output
    assert "cannot be written" in ended.output
    assert "free some space" in ended.output
    ((status, failure),) = intact(tmp_path, run)
    assert status == "failed"
    assert failure.startswith("StorageError: File ")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_database_that_cannot_grow(pictures: Path, tmp_path: Path) -> None:
    run = committed(tmp_path)
    limit = (tmp_path / "bench.db").stat().st_size
    ended = bench(tmp_path, "run", "-m", "imagenet", *words_of(pictures), file_limit=limit)
    assert ended.code == 6, ended.output
    assert "free some space" in ended.output
    assert all(status in ("failed", "running") for status, _ in intact(tmp_path, run))
    assert not list(tmp_path.rglob("*.tmp"))
    again = bench(tmp_path, "run", "-m", "imagenet", *words_of(pictures))  # space was freed
    assert again.code == 0, again.output


def test_finished_scores_that_the_database_does_not_take_are_kept_in_a_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.engine import Outcome
    from bench.experiment import Request, Resources, resolve
    from bench.running import _keep

    resources = Resources(data_root=tmp_path, cache_dir=tmp_path / "cache", device="cpu")
    experiment = resolve(Request("imagenet", "emoji", per_class_limit=1), resources)
    outcome = Outcome(SCORES, {"scoring": 1.0}, {}, {}, {})

    def full(*_: object, **__: object) -> None:
        raise StorageError("The results database cannot grow.")

    monkeypatch.setattr(store, "finish", full)
    with pytest.raises(StorageError, match="The finished scores are in ") as caught:
        _keep(store, 1, outcome, experiment, resources)
    kept = json.loads(Path(str(caught.value).rpartition(" are in ")[2].rstrip(".")).read_text())
    assert kept["key"] == experiment.key
    assert kept["scores"][0]["value"] == 0.5
    blocked = tmp_path / "file"
    write_whole(blocked, b"a file where the cache folder should be")
    with pytest.raises(StorageError, match="could not be kept in a file either"):
        _keep(store, 1, outcome, experiment, Resources(tmp_path, blocked, device="cpu"))
