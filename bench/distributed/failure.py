"""Which rank prints the error when a distributed run fails.

Rank 0 does. If it is gone, or if one rank alone fails, another rank prints after a few seconds. The ranks agree through
the store of torchrun's agent, which outlives them. Other launchers keep no such store; then rank 0 alone prints.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta

from bench.errors import IncompleteError
from bench.signals import Terminated, ignore_signals

WAIT = 5.0  # seconds that the others wait for rank 0; torchrun kills all ranks 30 s after its SIGTERM
POLL = 0.05  # seconds between two looks at the store
CONNECT = timedelta(seconds=10)
LOST = (  # in the errors of a rank whose peer ended
    "closed by peer",
    "reset by peer",
    "broken pipe",
    "gloo",
    "nccl",
    "remote process exited",
    "timed out waiting",
    "killed by signal: terminated",  # a loader's worker, which receives torchrun's SIGTERM, too
)
STOPPED = (
    "A process of this run ended or was stopped: finished runs are stored, and the same command resumes from the last "
    "checkpoint."
)


class LostProcessError(IncompleteError):
    """Another process of the run ended, so that this one cannot continue."""

    def __init__(self) -> None:
        super().__init__(STOPPED)


def is_lost(error: BaseException) -> bool:
    """Whether an exception means that another process is gone."""
    import torch.distributed as dist

    text = str(error).lower()
    known = isinstance(error, dist.DistError) or any(words in text for words in LOST)
    return isinstance(error, RuntimeError) and known


def message_of(error: BaseException, text: str) -> str | None:
    """What this rank prints on ``error``, which ends it: ``text``, or None if another rank prints.

    torchrun sends SIGTERM both when a process has ended and when it is stopped itself: one sentence covers both.
    """
    rank, size = _rank_and_size()
    if size == 1:
        return text
    ignore_signals()  # torchrun's, if another process ends before this one has printed
    if not prints_error():
        return None
    if isinstance(error, Terminated):
        return f"error: {STOPPED}"
    if rank == 0 or isinstance(error, LostProcessError | KeyboardInterrupt):
        return text
    return text.replace("error: ", f"error: Process {rank} of {size}: ", 1)


def prints_error() -> bool:
    """Whether this rank prints the error: the first to call this, and the others give rank 0 some seconds."""
    rank, size = _rank_and_size()
    if size == 1 or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return rank == 0
    import torch.distributed as dist  # seconds that one process need not spend

    key = f"bench: error, attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    end = time.monotonic() + WAIT
    try:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(host, port, is_master=False, timeout=CONNECT)  # type: ignore[attr-defined]
        while rank > 0 and not store.check([key]) and time.monotonic() < end:
            time.sleep(POLL)
        return bool(store.compare_set(key, "", str(rank)) == str(rank).encode())
    except RuntimeError:  # the agent is gone
        return rank == 0


def _rank_and_size() -> tuple[int, int]:
    """This process's rank and their number, as torchrun's variables have them; (0, 1) without torchrun."""
    try:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return 0, 1
