"""A disk that is full (a limit on file sizes): exit 6, what was committed intact, no half-written file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.errors import StorageError
from bench.io import write_whole
from bench.results.outcomes import UnstoredError, enter_left, outcome_folder, store_outcome
from bench.results.store import Store
from tests.bench.results.test_store import IDENTITY, SCORES, finish
from tests.pictures import words_of, write_folder
from tests.processes import bench


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"))


def committed(folder: Path) -> int:
    """A store with one finished run."""
    store = Store(str(folder / "bench.db"))
    run = store.begin(IDENTITY)
    finish(store, run, SCORES, {}, details={"per-query": b"x" * 100})
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


def files_of(folder: Path) -> list[str]:
    """The files that commands left there, without the notes on where folders of images are."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.parent.name != "folders")


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
    assert files_of(tmp_path) == ["bench.db", "output.txt"]


def test_a_database_that_cannot_grow(pictures: Path, tmp_path: Path) -> None:
    run = committed(tmp_path)
    limit = (tmp_path / "bench.db").stat().st_size // 2
    ended = bench(tmp_path, "run", "-m", "imagenet", *words_of(pictures), file_limit=limit)
    assert ended.code == 6, ended.output
    assert "free some space" in ended.output
    assert intact(tmp_path, run) == []
    assert files_of(tmp_path) == ["bench.db", "output.txt"]
    again = bench(tmp_path, "run", "-m", "imagenet", *words_of(pictures))  # space was freed
    assert again.code == 0, again.output


def test_a_database_that_grows_too_late_is_given_what_was_kept_beside_it(pictures: Path, tmp_path: Path) -> None:
    """The log of the database reaches the limit where the run ends, and is emptied when its last user leaves."""
    run = committed(tmp_path)
    limit = (tmp_path / "bench.db").stat().st_size
    ended = bench(tmp_path, "run", "-m", "imagenet", *words_of(pictures), file_limit=limit)
    assert ended.code == 0, ended.output
    assert "The database is back; runs that were put into it: 1." in ended.output
    assert intact(tmp_path, run) == [("done", "")]
    assert files_of(tmp_path) == ["bench.db", "output.txt"]


def test_finished_scores_that_the_database_does_not_take_are_kept_in_a_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.experiments.experiment import Resources
    from bench.experiments.resolve import resolve
    from bench.settings.request import Request

    resources = Resources(data_root=tmp_path, cache_dir=tmp_path / "cache", device="cpu")
    experiment = resolve(Request("imagenet", "emoji", per_class_limit=1), resources)
    run = store.claim({**experiment.identity, "environment": {"device": "cpu"}}).run
    environment, packed = {"device": "cpu", "network": "n"}, {"per-query": b"values"}
    finished = replace(store.runs(id=run)[0], status="done", scores=tuple(SCORES), environment=environment)

    def full(*_: Any, **__: Any) -> None:
        raise StorageError("The results database cannot grow.")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "finish", full)
        with pytest.raises(UnstoredError, match=r"cannot grow\. The finished run is kept in ") as caught:
            store_outcome(store, finished, packed, resources.cache_dir)
        (file,) = outcome_folder(store.where, resources.cache_dir).iterdir()
        assert str(file) in str(caught.value)
        blocked = tmp_path / "file"
        write_whole(blocked, b"a file where the cache folder should be")
        with pytest.raises(StorageError, match="could not be kept in a file either"):
            store_outcome(store, finished, packed, blocked)
    assert enter_left(store, resources.cache_dir).new == 1  # space was freed
    found = store.find(experiment.key)
    assert found is not None
    assert found.scores[:2] == tuple(SCORES[:2])
    assert found.environment == {"device": "cpu", "network": "n"}
    assert store.detail(found.id, "per-query") == b"values"
    assert not file.exists()


def test_where_no_file_can_be_written_the_database_gets_the_scores(store: Store, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    run = store.claim(IDENTITY).run
    finished = replace(store.runs(id=run)[0], status="done", scores=tuple(SCORES))
    stored = store_outcome(store, finished, {}, blocked)
    assert (stored.id, stored.status) == (run, "done")
