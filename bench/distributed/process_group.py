"""Several processes that carry out one run together, started by torchrun: who they are and what passes between them.

The first process (rank 0) leads: it alone claims, stores and shows. Whatever depends on a disk is read by the leader
and told to the others, so that no two of them can decide differently and wait for each other for ever. Who speaks
when they end is another matter: ``bench/distributed/failure.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from bench import errors
from bench.distributed.failure import Voice, of_this_process, tells_of_a_loss
from bench.errors import BenchError, UsageError
from bench.signals import Deferred

T = TypeVar("T")
Tensors = dict[str, Tensor]

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets
PATIENCE = timedelta(days=1)  # a cell that another team computes is waited for; a dead process is noticed at once


@dataclass(frozen=True)
class Processes:
    """The processes of a run as one of them sees them: its own ``rank`` of ``size``; one process without torchrun.

    Whatever passes something is for all processes to call at the same point, and does nothing where there is one.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among those of this machine: the number of the GPU
    voice: Voice = field(default_factory=Voice, compare=False, repr=False)

    @property
    def leads(self) -> bool:
        """Whether this is the process that stores and shows."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this process where ``name`` was asked for: of several GPUs each process takes its own."""
        takes_its_own = self.size > 1 and torch.cuda.is_available() and name in ("auto", "cuda")
        return f"cuda:{self.local_rank}" if takes_its_own else name

    def share(self, count: int, rank: int | None = None) -> range:
        """The positions out of ``count`` that fall to this process, or to another: consecutive, as many as the others
        have, or one more.
        """
        place = self.rank if rank is None else rank
        return range(count * place // self.size, count * (place + 1) // self.size)

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """The items out of all that fall to this process."""
        mine = self.share(len(items))
        return items[mine.start : mine.stop]

    def told(self, value: T, source: int = 0) -> T:
        """What the process of rank ``source`` gave, anything that JSON holds, on every process."""
        if self.size == 1:
            return value
        content = _bytes_of(json.dumps(value)) if self.rank == source else torch.empty(0, dtype=torch.uint8)
        length = torch.tensor([len(content)])
        dist.broadcast(length, source)
        if self.rank != source:
            content = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(content, source)
        found: T = json.loads(bytes(content.tolist()))
        return found

    def all_told(self, value: T) -> list[T]:
        """What each process gave, by rank."""
        return [self.told(value, source) for source in range(self.size)]

    def tensors_told(self, found: tuple[Tensors, dict[str, Any]] | None) -> tuple[Tensors, dict[str, Any]] | None:
        """Tensors by name, and facts that JSON holds, that the leader read (on the CPU); None where it found none."""
        if self.size == 1:
            return found
        layout = [(name, list(each.shape), _name(each.dtype)) for name, each in found[0].items()] if found else None
        told_layout, facts = self.told((layout, found[1] if found else {}))
        if told_layout is None:
            return None
        tensors: Tensors = {}
        for name, shape, kind in told_layout:
            mine = found[0][name].contiguous() if found else torch.empty(shape, dtype=getattr(torch, kind))
            dist.broadcast(
                mine.reshape(-1).view(torch.uint8), 0
            )  # bytes: whatever a backend adds up, it can send these
            tensors[name] = mine
        return tensors, dict(facts)

    def rows_of_all(self, rows: Tensor) -> Tensor:
        """The rows of every process, by rank: any [own rows, ...] on the CPU to [all rows, ...].

        A process without rows gives a tensor of any width.
        """
        if self.size == 1:
            return rows
        shapes = self.all_told((list(rows.shape), _name(rows.dtype)))
        parts = []
        for source, (shape, kind) in enumerate(shapes):
            if not shape[0]:
                continue
            part = rows.contiguous() if source == self.rank else torch.empty(shape, dtype=getattr(torch, kind))
            dist.broadcast(part.reshape(-1).view(torch.uint8), source)
            parts.append(part)
        return torch.cat(parts) if parts else rows

    def whole_batch(self, values: Tensor, rows: Sequence[int], count: int) -> Tensor:
        """The rows of a batch of ``count`` whose rows at ``rows`` this process has: float [own, ...] to [count, ...].

        Gradients flow back to the process that has the row, times the number of processes, by which each divides the
        loss of the whole batch that all of them compute: what belongs to no image has a part of its gradient on each,
        and what looks at images has the gradients that it would have in one process, which fp16 may overflow.
        """
        if self.size == 1:
            return values
        whole: Tensor = _WholeBatch.apply(values, torch.as_tensor(rows, device=values.device), count, self.size)
        return whole

    def together(self, work: Callable[[], T]) -> T:
        """What ``work`` gives when it succeeds on every process; the leader says a mistake on one, all raise it."""
        mistake: list[str] | None = None
        try:
            found = work()
        except BenchError as error:
            if self.size == 1:
                raise
            mistake = [type(error).__name__, str(error)]
        for rank, each in enumerate(self.all_told(mistake)):
            if each is not None:
                said = each[1] if rank == 0 else f"Process {rank} of {self.size}: {each[1]}"
                self.fail(getattr(errors, each[0], BenchError)(said))
        return found

    def fail(self, error: BenchError) -> None:
        """Raise an error that every process has; one of them says it."""
        error.said_elsewhere = not self.leads
        raise error

    @contextmanager
    def company(self, signals: Deferred | None = None) -> Iterator[None]:
        """Within the block, the end of another process is LostProcessError, one sentence that one process says.

        So is a signal that torchrun sent because of it; of a user's signal, too, one process speaks. ``signals`` are
        those that the block has waited with. Nothing changes for one process.
        """
        try:
            yield
        except (RuntimeError, KeyboardInterrupt) as error:
            if self.size == 1 or not (isinstance(error, KeyboardInterrupt) or tells_of_a_loss(error)):
                raise
            ended = self.voice.end(error, signals.asked if signals is not None else None)
            if ended is error:
                raise
            raise ended from error


ALONE = Processes()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes that torchrun started for this run, connected; ``ALONE`` without torchrun.

    ``device`` is what was asked for: GPUs exchange gradients by NCCL, everything else passes by gloo. Raises UsageError
    when the environment is half of what torchrun sets, or the processes do not find each other.
    """
    present = [name for name in VARIABLES if name in os.environ]
    if "WORLD_SIZE" not in present or os.environ["WORLD_SIZE"] == "1":
        yield ALONE
        return
    missing = [name for name in VARIABLES if name not in present]
    if missing:
        raise UsageError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']} but {missing[0]} is not set: start several processes by "
            "torchrun, or unset WORLD_SIZE."
        )
    uses_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    try:
        rank, size, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        dist.init_process_group("cpu:gloo,cuda:nccl" if uses_gpu else "gloo", timeout=PATIENCE)
        found = Processes(rank, size, local_rank, of_this_process())
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"The processes of this run do not find each other ({str(error).splitlines()[0]}): check torchrun's "
            "rendezvous."
        ) from error
    try:
        with found.voice.answering(), found.company():
            yield found
    except BenchError:  # the command line says it, or leaves it to another process
        raise
    except Exception:  # a bug, whose traceback is what is said
        found.voice.claim()
        raise
    dist.destroy_process_group()  # not after a failure, where it would wait for processes that are gone


class _WholeBatch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor, count: int, size: int) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.size = size
        # Rows of others are zero here, and adding zero changes nothing: whatever order a backend adds in, every process
        # has the same bits, and a share may have any size and place.
        whole = torch.zeros((count, *values.shape[1:]), dtype=torch.float32, device=values.device)
        whole[rows] = values.detach().float()
        dist.all_reduce(whole)
        return whole.to(values.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (rows,) = ctx.saved_tensors
        return gradient[rows] * ctx.size, None, None, None


def _name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def _bytes_of(text: str) -> Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.uint8)
