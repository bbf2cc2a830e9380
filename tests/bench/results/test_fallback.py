"""The file that takes a lost database's place: taken up when nobody needs it any more, never removed unread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.results import merge as merging
from bench.results.fallback import Spool, take_up
from tests.bench.results.test_merge import opened, with_runs
from tests.bench.results.test_store import IDENTITY


def test_a_spool_that_others_still_write_to_is_left(tmp_path: Path) -> None:
    spool = with_runs(tmp_path / "spool.db", "k1")
    with opened(spool) as kept, opened(tmp_path / "all.db") as store:
        kept.claim({**IDENTITY, "key": "k2"})
        found = take_up(store, spool)
        assert found is not None
        assert (found.new, found.running) == (1, 1)
        assert spool.exists()


def test_what_is_kept_while_a_spool_is_taken_up_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is stored between the reading of the file and its removal; it is taken up the next time."""
    path = with_runs(tmp_path / "spool.db", "k1")
    entered, enter = [], merging.enter

    def late(*arguments: Any) -> None:
        enter(*arguments)
        if not entered:
            entered.append(with_runs(path, "k2"))

    monkeypatch.setattr(merging, "enter", late)
    with opened(tmp_path / "all.db") as store:
        for keys, there in ((["k1"], True), (["k1", "k2"], False)):
            take_up(store, path)
            assert [run.key for run in store.runs(status="done")] == keys
            assert path.exists() == there


def test_a_spool_that_a_process_has_open_is_not_removed(tmp_path: Path) -> None:
    """A sweep that goes on without its database enters no run between one cell and the next."""
    path = with_runs(tmp_path / "spool.db", "k1")
    spool = Spool(path)
    with opened(tmp_path / "all.db") as store:
        for open_still in (True, False):
            take_up(store, path)
            assert [run.key for run in store.runs(status="done")] == ["k1"]
            assert path.exists() == open_still
            spool.close()
