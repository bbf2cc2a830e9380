"""The processes of one distributed run, started by torchrun, and what they exchange.

Rank 0 claims and stores runs, writes the cache and shows progress. Whatever depends on a disk is read by rank 0 and
broadcast, so that no two ranks decide differently and wait for each other forever.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from bench import errors
from bench.distributed.failure import LostProcessError, is_lost
from bench.errors import BenchError, UsageError
from bench.signals import ignore_signals

T = TypeVar("T")
Tensors = dict[str, Tensor]

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # set by torchrun
TIMEOUT = timedelta(days=1)  # another job may compute the run; a process that dies is noticed at once


@dataclass(frozen=True)
class Processes:
    """This process's ``rank`` among the ``size`` processes of a run; without torchrun there is one.

    All ranks must call the methods that communicate at the same point. One process communicates nothing.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among the processes of this machine: the number of its GPU

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this process if the user chose ``name``: a GPU of its own, or one that it shares."""
        chosen = self.size > 1 and torch.cuda.is_available() and name in ("auto", "cuda")
        return f"cuda:{self.local_rank % torch.cuda.device_count()}" if chosen else name

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's share of the items: consecutive ones, as many as on the other ranks or one more."""
        first, last = (len(items) * rank // self.size for rank in (self.rank, self.rank + 1))
        return items[first:last]

    def all_gather(self, value: T) -> list[T]:
        """The ``value`` of every process by rank; any JSON value."""
        if self.size == 1:
            return [value]
        content = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(content)]))
        parts = [torch.zeros(int(max(lengths)), dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(parts, torch.cat([content, parts[0][len(content) :]]))
        return [json.loads(part[:length].numpy().tobytes()) for part, length in zip(parts, lengths, strict=True)]

    def broadcast(self, value: T) -> T:
        """Rank 0's ``value`` on every process; any JSON value."""
        return self.all_gather(value if self.leads else None)[0]  # type: ignore[return-value]

    def broadcast_tensors(self, read: tuple[Tensors, dict[str, Any]] | None) -> tuple[Tensors, dict[str, Any]] | None:
        """Tensors by name (on the CPU) and facts that rank 0 read, on every process; None if it read none."""
        if self.size == 1:
            return read
        layout = [(name, *_layout(each)) for name, each in read[0].items()] if read else None
        layout, facts = self.broadcast((layout, read[1] if read else {}))
        if layout is None:
            return None
        return {name: self._send(read and read[0][name], shape, kind, 0) for name, shape, kind in layout}, dict(facts)

    def broadcast_tensor(self, tensor: Tensor | None) -> Tensor | None:
        """Rank 0's tensor on every process (on the CPU)."""
        sent = self.broadcast_tensors(({"": tensor}, {}) if tensor is not None else None)
        return sent[0][""] if sent is not None else None

    def all_gather_rows(self, rows: Tensor) -> Tensor:
        """The rows of every process, by rank: any [own rows, ...] on the CPU to [all rows, ...].

        A process without rows passes a tensor of any width.
        """
        if self.size == 1:
            return rows
        shapes = self.all_gather(_layout(rows))
        parts = [self._send(rows, shape, kind, rank) for rank, (shape, kind) in enumerate(shapes) if shape[0]]
        return torch.cat(parts) if parts else rows

    def gather_batch(self, values: Tensor, rows: Sequence[int], count: int) -> Tensor:
        """A batch of ``count`` whose rows at ``rows`` this process has: float [own, ...] to [count, ...].

        Gradients flow back to the process that has the row, times the number of processes. Each process divides the
        loss of the whole batch by that number. Parameters that see whole batches then have a part of their gradient on
        each process, and those that see images have the gradients of one process, which fp16 may overflow.
        """
        if self.size == 1:
            return values
        whole: Tensor = _WholeBatch.apply(values, torch.as_tensor(rows, device=values.device), count, self.size)
        return whole

    def all_succeed(self, work: Callable[[], T]) -> T:
        """The result of ``work`` if it succeeds on every process; otherwise all raise the first rank's error."""
        failure: list[str] | None = None
        try:
            result = work()
        except BenchError as error:
            if self.size == 1:
                raise
            failure = [type(error).__name__, str(error)]
        for rank, each in enumerate(self.all_gather(failure)):
            if each is not None:
                text = each[1] if rank == 0 else f"Process {rank} of {self.size}: {each[1]}"
                raise getattr(errors, each[0], BenchError)(text)
        return result

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Raise LostProcessError when another process ends within the block; torchrun's SIGTERM is then ignored."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not is_lost(error):
                raise
            ignore_signals()
            raise LostProcessError from error

    def _send(self, mine: Tensor | None, shape: Sequence[int], kind: str, source: int) -> Tensor:
        """Rank ``source``'s tensor on every process, as bytes, which every backend can send."""
        if mine is None or self.rank != source:
            mine = torch.empty(shape, dtype=getattr(torch, kind))
        mine = mine.contiguous()
        dist.broadcast(mine.reshape(-1).view(torch.uint8), source)
        return mine


ALONE = Processes()


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Connect the processes that torchrun started for this run; ``ALONE`` without torchrun.

    Raises UsageError if some of torchrun's variables are missing or the processes cannot connect.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    missing = [name for name in VARIABLES if name not in os.environ]
    if missing:
        raise UsageError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']} but {missing[0]} is not set: start several processes by "
            "torchrun, or unset WORLD_SIZE."
        )
    try:
        processes = Processes(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
        dist.init_process_group(choose_backend(device, processes.size), timeout=TIMEOUT)
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"The processes of this run cannot connect ({str(error).splitlines()[0]}): check torchrun's rendezvous."
        ) from error
    with processes.watch():
        yield processes
    dist.destroy_process_group()  # not after a failure: it would wait for processes that are gone


def choose_backend(device: str, size: int) -> str:
    """What ``size`` processes on ``device`` exchange tensors by: NCCL if each has a GPU of its own, otherwise gloo."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    own = device in ("auto", "cuda") and torch.cuda.device_count() >= here
    return "cpu:gloo,cuda:nccl" if own else "gloo"


class _WholeBatch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor, count: int, size: int) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.size = size
        # Rows of others are zero here, and adding zero changes nothing: every process has the same bits, in whatever
        # order a backend adds.
        whole = torch.zeros((count, *values.shape[1:]), dtype=torch.float32, device=values.device)
        whole[rows] = values.detach().float()
        dist.all_reduce(whole)
        return whole.to(values.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (rows,) = ctx.saved_tensors
        return gradient[rows] * ctx.size, None, None, None


def _layout(tensor: Tensor) -> tuple[list[int], str]:
    return list(tensor.shape), str(tensor.dtype).removeprefix("torch.")
