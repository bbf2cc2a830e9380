"""One cell as a job: what runs in the process that a scheduler started for it, and how it stops and goes on."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from bench.errors import StorageError
from bench.results.database import holds_secret
from bench.results.queueing import queue_again
from bench.results.store import Store, existing

POLL_SECONDS = 0.5


def without_secret(call: Sequence[str]) -> list[str]:
    """The words of a call without ``--store`` where its URL holds a password, which is for nobody to see."""
    words = list(call)
    if "--store" in words and holds_secret(words[words.index("--store") + 1]):
        del words[words.index("--store") : words.index("--store") + 2]
    return words


class CellJob:
    """``bench WORDS`` as a job; ``key`` is the cell's, ``where`` its store.

    Calling it runs the program in a process of its own and gives its exit code. Before the scheduler ends it for lack
    of time, ``checkpoint`` has the program write its checkpoint, and hands the job in again. A job of this machine has
    ``threads``, its share of them, ``gpus``, those that it sees (as in ``CUDA_VISIBLE_DEVICES``; None: all), and
    ``mark``, a file that is there while the job waits to go on.
    """

    def __init__(
        self, words: Sequence[str], where: str, key: str, threads: int | None = None, mark: Path | None = None
    ) -> None:
        self.words, self.where, self.key, self.threads, self.mark = tuple(words), where, key, threads, mark
        self.gpus: str | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._waiting: threading.Thread | None = None
        self._stopped = False

    def command(self) -> list[str]:
        """The program and its words; a store whose URL holds a password is not among them, since all users see them."""
        return [sys.executable, "-m", "bench", *without_secret(self.words)]

    def __call__(self) -> int:
        """Run the program; its exit code. A cell that did not even begin is marked failed in the store."""
        if self.mark is not None:
            self.forget()
            # How it is told to stop, by its sweep or as its terminal closes. Not on a cluster, which sends SIGTERM also
            # before it hands a job in again.
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, self._stop)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BENCH_")}
        if self.mark is not None:  # submitit hides those that it was not asked for
            environment.pop("CUDA_VISIBLE_DEVICES", None)
            environment |= {"CUDA_VISIBLE_DEVICES": self.gpus} if self.gpus is not None else {}
        if holds_secret(self.where):
            environment["BENCH_STORE"] = self.where
        if self.threads is not None:  # more threads than processors wait for each other most of the time
            environment.setdefault("OMP_NUM_THREADS", str(self.threads))
        # In a group of its own Ctrl-C does not reach it, which it would take for the first of two signals to stop.
        child = subprocess.Popen(self.command(), env=environment, process_group=0 if self.mark is not None else None)
        # Waited for by a thread: a signal's handler, which interrupts this one, can wait for it then too.
        self._child, self._waiting = child, threading.Thread(target=child.wait, daemon=True)
        self._waiting.start()
        if self._stopped:
            child.send_signal(signal.SIGTERM)
        try:
            while self._waiting.is_alive():
                self._waiting.join(POLL_SECONDS)
        finally:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        if child.returncode and not self._stopped:
            why = f"its job ended with exit code {child.returncode} before it began"
            self._note(lambda store: store.unqueue(self.key, "failed", why))
        return int(child.returncode)

    def checkpoint(self) -> Any:
        """Stop the program, which writes its checkpoint, and give the same job to be submitted again; it is queued."""
        from submitit.helpers import DelayedSubmission

        if self._child is not None and self._waiting is not None:
            self._child.send_signal(signal.SIGTERM)
            self._waiting.join()
        self._note(lambda store: queue_again(store, self.key))
        if self.mark is not None:
            with suppress(OSError):  # a full disk; the job then ends with its controller
                self.mark.touch()
        again = copy.copy(self)  # told to stop meanwhile, it does not go on
        again._child = again._waiting = None  # no file can hold these
        return DelayedSubmission(again)

    def waits(self) -> bool:
        """Whether a job of this machine was handed in again and has not begun since."""
        return self.mark is not None and self.mark.exists()

    def forget(self) -> None:
        """Let nothing wait for the job any more."""
        if self.mark is not None:
            self.mark.unlink(missing_ok=True)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped = True
        if self._child is not None:
            self._child.send_signal(signal.SIGTERM)

    def _note(self, what: Callable[[Store], None]) -> None:
        with suppress(StorageError):  # a store that is out of reach may be why the program ended
            store = existing(self.where)
            if store is not None:
                try:
                    what(store)
                finally:
                    store.close()
