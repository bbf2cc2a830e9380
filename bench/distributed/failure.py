"""Which of several processes says why they end: one of them and no other, whichever of them is gone.

torchrun's agent keeps a board, torch's store, that outlives the processes. Whoever ends raises an alarm on it; all that
are alive answer, from a thread, since their main threads may compute, or wait for a process that is gone. The
lowest of those that answer speaks, and claims that on the board, so that no other does. torchrun sends
SIGTERM to all when one of them is gone: it is by the answers that this is told from a user's signal.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

import torch.distributed as dist

from bench.errors import IncompleteError
from bench.signals import ignore_signals, last_signals

ANSWER = 3.0  # seconds that a process has to answer the alarm
TURN = 5.0  # seconds that the others leave the first of them to speak; torchrun kills all 30 s after its SIGTERM
LISTEN = 0.2  # seconds between two looks for an alarm
POLL = 0.05  # seconds between two looks for an answer
CONNECT = timedelta(seconds=30)
LOST = (
    "closed by peer",
    "reset by peer",
    "broken pipe",
    "gloo",
    "nccl",
    "remote process exited",
    "timed out waiting",
    "killed by signal: terminated",  # a loader's process, which has torchrun's SIGTERM, too
)


class LostProcessError(IncompleteError):
    """Another process of the run ended, so that this one cannot go on."""


def tells_of_a_loss(error: BaseException) -> bool:
    """Whether an exception says that another process is not there any more."""
    if not isinstance(error, RuntimeError):
        return False
    said = str(error).lower()
    return isinstance(error, dist.DistError) or any(words in said for words in LOST)


@dataclass
class Voice:
    """What one of several processes may say at the end; ``board`` is None where none outlives them.

    Then the first process speaks, and of mistakes that one process alone meets that process.
    """

    rank: int = 0
    size: int = 1
    board: Any = field(default=None, repr=False)
    _speaks: bool | None = field(default=None, init=False)  # None until it is decided

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Within the block a thread answers the alarm of another process; who leaves it has answered."""
        if self.board is None:
            yield
            return
        over = threading.Event()

        def answer() -> None:
            with suppress(RuntimeError):  # the board is gone
                while not over.wait(LISTEN):
                    if self.board.check([_key("alarm")]):
                        self._answer()
                        return

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(ANSWER)
            with suppress(RuntimeError):
                self._answer()

    def end(self, error: BaseException, asked: KeyboardInterrupt | None = None) -> BaseException:
        """What ends this process, where ``error`` is a signal or ``tells_of_a_loss``; signals are ignored from here on.

        LostProcessError when a process does not answer, or none asked for the end by a signal: ``asked`` is one that
        came before. Its ``said_elsewhere`` says whether another process tells the user, and saves.
        """
        if self._speaks is not None:
            return error
        with last_signals() as last:
            present = self._present()
            signal = error if isinstance(error, KeyboardInterrupt) else asked or last.asked
            complete = len(present) == self.size
            unknown = self.board is None or (not present and signal is error)
            if signal is not None and (complete or unknown):
                # The first process has the signal too, or loses the others: waiting for it would keep it waiting.
                self._speaks = self.rank == 0 and self.claim()
                return signal
            self._speaks = self._claims(min(present, default=0))
        ended = LostProcessError(
            "Another process of this run ended: what was finished is stored, and asking again goes on from the last "
            "checkpoint."
        )
        ended.said_elsewhere = not self._speaks
        return ended

    def beginning(self, error: BaseException) -> str | None:
        """How this process begins its sentence on ``error``, which ends it; None where another process speaks.

        The first process takes its turn at once and the others leave it some seconds, since most mistakes all of them
        meet. What one alone met is said with its number.
        """
        if self._speaks is not None:
            return "" if self._speaks else None
        elsewhere = getattr(error, "said_elsewhere", False)
        if self.board is None:
            if elsewhere or (self.rank > 0 and isinstance(error, KeyboardInterrupt)):
                return None
        else:
            ignore_signals()  # torchrun's, when another process ends before this one has spoken
            if not self._claims(0):
                return None
        return f"Process {self.rank} of {self.size}: " if self.rank > 0 and not elsewhere else ""

    def claim(self) -> bool:
        """Whether this process speaks: the first one that claims it, or the first of all where there is no board."""
        if self.board is not None:
            with suppress(RuntimeError):
                return bool(self.board.compare_set(_key("voice"), "", str(self.rank)) == str(self.rank).encode())
        return self.rank == 0

    def _claims(self, first: int) -> bool:
        """As ``claim``, after the process of rank ``first`` had its turn."""
        if self.rank > first:
            self._until([_key("voice")], TURN)
        return self.claim()

    def _present(self) -> list[int]:
        """The ranks that answer the alarm; none where that cannot be known, or need not, since somebody speaks."""
        if self.board is None:
            return []
        answers = [_key(f"answer of {rank}") for rank in range(self.size)]
        try:
            self.board.set(_key("alarm"), "raised")
            self._answer()
            if self.board.check([_key("voice")]):
                return []
            self._until(answers, ANSWER)
            return [rank for rank, answer in enumerate(answers) if self.board.check([answer])]
        except RuntimeError:
            return []

    def _answer(self) -> None:
        self.board.set(_key(f"answer of {self.rank}"), "here")

    def _until(self, keys: list[str], seconds: float) -> None:
        """Wait until all of ``keys`` are on the board, ``seconds`` at most."""
        end = time.monotonic() + seconds
        with suppress(RuntimeError):
            while self.board is not None and not self.board.check(keys) and time.monotonic() < end:
                time.sleep(POLL)


@cache
def of_this_process() -> Voice:
    """The voice of the process that torchrun's variables describe; that of one alone where they do not."""
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        return Voice(rank, size, _board()) if size > 1 else Voice()
    except (KeyError, ValueError):
        return Voice()


def _board() -> Any:
    """The store by which the processes met, kept by torchrun's agent; None where rank 0 keeps it and takes it along."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    try:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        return dist.TCPStore(host, port, is_master=False, timeout=CONNECT)  # type: ignore[attr-defined]
    except RuntimeError:
        return None


def _key(name: str) -> str:
    """The name on the board of something of this attempt: torchrun may start all processes anew."""
    return f"bench: {name}, attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
