"""A first signal waits for the end of the step, a second one does not."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from bench.signals import Deferred, Terminated, deferred_signals, ignore_signals


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_the_first_signal_is_noted_and_raised_where_it_can_be_borne(
    number: signal.Signals, kind: type[BaseException]
) -> None:
    before = signal.getsignal(number)
    steps: list[str] = []

    def loop() -> None:
        with deferred_signals() as signals:
            os.kill(os.getpid(), number)
            steps.append("went on")
            assert signals.pending is not None
            signals.raise_pending()

    with pytest.raises(kind) as caught:
        loop()
    assert steps == ["went on"]
    assert type(caught.value) is kind
    assert signal.getsignal(number) is before


def test_a_second_signal_is_raised_at_once() -> None:
    steps: list[str] = []

    def loop() -> None:
        with deferred_signals():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("went on")
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("not reached")

    with pytest.raises(Terminated):
        loop()
    assert steps == ["went on"]


def test_where_a_signal_can_be_borne_at_any_point_it_does_not_wait() -> None:
    steps: list[str] = []

    def loop() -> None:
        with deferred_signals() as signals, signals.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("not reached")

    def late() -> None:
        with deferred_signals() as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            with signals.at_once():
                steps.append("not reached")

    for each in (loop, late):
        with pytest.raises(Terminated):
            each()
    assert steps == []


def test_ignored_signals_stay_ignored_after_the_block() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with deferred_signals():
            ignore_signals()
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_without_a_signal_nothing_is_raised() -> None:
    with deferred_signals() as signals:
        signals.raise_pending()
    assert signals.pending is None


def test_elsewhere_than_in_the_main_thread_nothing_changes() -> None:
    before = signal.getsignal(signal.SIGINT)
    found: list[object] = []

    def work() -> None:
        with deferred_signals() as signals:
            found.append(signals)
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(found[0], Deferred)
    assert found[1] is before
