"""Signs of life while a run computes."""

from __future__ import annotations

import threading
import time

import pytest

from bench.errors import StorageError
from bench.experiments.progress import Heartbeat
from bench.results.store import Store
from tests.bench.results.test_store import IDENTITY
from tests.conftest import Quiet


def wait_for(condition: object) -> None:
    until = time.monotonic() + 20
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, "the sign of life did not come"
        time.sleep(0.01)


def test_the_store_hears_what_is_being_done(store: Store, quiet: Quiet) -> None:
    run = store.claim(IDENTITY).run
    with Heartbeat(store, run, quiet, seconds=0.01) as beating:
        beating.phase("training")
        beating.progress(3, 9, {"quadruplet": 0.5})
        wait_for(lambda: store.doing()[run][1] == "training (3/9)")
        beating.progress(4, 9, {})
        wait_for(lambda: store.doing()[run][1] == "training (4/9)")
        first = store.doing()[run][0]
        assert first < 10
    assert quiet.phases == ["training"]
    assert quiet.terms == [{"quadruplet": 0.5}]


def test_no_thread_is_left_when_the_run_ends(store: Store, quiet: Quiet) -> None:
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="a bug"), Heartbeat(store, 1, quiet, seconds=60):
        raise RuntimeError("a bug")
    assert threading.active_count() == before


def test_a_store_that_cannot_be_reached_for_a_while_stops_nobody(
    store: Store, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    beat = store.beat
    run = store.claim(IDENTITY).run

    def sometimes(number: int, doing: str) -> None:
        calls.append(number)
        if len(calls) < 3:
            raise StorageError("locked")
        beat(number, doing)

    monkeypatch.setattr(store, "beat", sometimes)
    with Heartbeat(store, run, quiet, seconds=0.01) as beating:
        beating.phase("scoring")
        wait_for(lambda: store.doing()[run][1] == "scoring")
