"""The training loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.datasets.images.augmentation import Augmentation
from bench.datasets.images.loader import Images
from bench.datasets.images.samplers import Batches, make_batches
from bench.devices import autocast, keep_freed_memory, to_pixels
from bench.distributed.ddp import WholeBatchLosses, spread
from bench.distributed.failure import LostProcessError
from bench.distributed.process_group import ALONE, Processes
from bench.fine_grained import number_instances
from bench.methods.base import Method
from bench.settings.run_settings import SCHEDULES, RunSettings
from bench.signals import Deferred, deferred_signals
from bench.training.best_epoch import BestEpoch
from bench.training.state import Checkpoint, TrainingState
from bench.types import Split

log = logging.getLogger("bench.training.loop")

OnStep = Callable[[int, int, dict[str, float]], None]  # gets steps done, all steps, unweighted loss terms by name
OnValues = Callable[[int, dict[str, float]], None]  # gets steps done; learning rates, or an epoch's number and score


@dataclass(frozen=True)
class TrainingData:
    """Training images with their labels, int64 [images], and domains, bool [images], in the order of the split.

    ``instances`` int64 [images] numbers what images show, in a fine-grained split.
    """

    images: Images
    labels: Tensor
    is_photo: Tensor
    instances: Tensor | None = None

    @classmethod
    def of(cls, split: Split, images: Images) -> TrainingData:
        """Add labels and domains to ``images``, which are those of ``split.train``."""
        domains = torch.tensor([item.modality == "photo" for item in split.train])
        instances = torch.from_numpy(number_instances(split.train)[0]) if split.relevance == "instance" else None
        return cls(images, torch.from_numpy(split.train_labels(split.train)), domains, instances)


def train(
    method: Method,
    data: TrainingData,
    run: RunSettings,
    *,
    seed: int,
    device: torch.device,
    precision: str,
    on_step: OnStep,
    on_values: OnValues = lambda step, values: None,
    checkpoint: Checkpoint | None = None,
    selector: BestEpoch | None = None,
    processes: Processes = ALONE,
    compiled: bool = False,
) -> TrainingState:
    """Train ``method`` in place; the state has the training curves.

    Training resumes from ``checkpoint``, and writes it after every epoch and on Ctrl-C or SIGTERM. ``selector`` scores
    the method after every epoch, and restores the best epoch at the end. Each of several ``processes`` computes its
    share of every batch, and all have the losses of the whole batch. ``compiled`` compiles ``method.outputs``.

    Raises IncompleteError if a loss is not finite, StorageError if a checkpoint cannot be written, UsageError if a
    batch cannot be split, and LostProcessError, after saving the last full step, if another process ended.
    """
    keep_freed_memory(device)
    instances = data.instances if method.by_instance else None
    paired = None if instances is None else instances.numpy()
    sampler = make_batches(run, data.labels.numpy(), data.is_photo.numpy(), paired)
    rows = sampler.share(processes.rank, processes.size)
    steps = max(1, round(run.epochs * len(sampler)))
    augment = Augmentation(run.rotation, run.scaling, run.shift, run.mirror, run.grayscale)
    optimiser, schedule, weights = method.optimiser(run), SCHEDULES.get(run.schedule), method.weights
    highest = [group["lr"] for group in optimiser.param_groups]
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    state = TrainingState(method, optimiser, scaler, steps, len(sampler), checkpoint, selector, processes)
    state.restore()
    if state.step:
        log.info("The training resumes after step %d of %d.", state.step, steps)
    method.train()
    losses = spread(WholeBatchLosses(method, processes, rows, compiled), optimiser, processes, device)
    with deferred_signals() as signals, torch.random.fork_rng(devices=[]), _save_when_lost(state, signals):
        _select(state, signals, on_values)
        for positions, images in _batches(sampler, data.images, seed, state.step, steps, rows):
            draws = _seed_draws(seed, state.step)
            pixels = augment(to_pixels(images, device), draws, rows, sampler.batch)  # [own, 3, size, size]
            labels = data.labels[positions].to(device)  # [batch]
            is_photo = data.is_photo[positions].to(device)  # [batch]
            with autocast(device, precision):
                shown = instances[positions].to(device) if instances is not None else None  # [batch]
                terms = losses(pixels, labels, is_photo, shown)  # each a scalar
                loss = torch.stack(
                    [weights[name] * value.float() for name, value in terms.items() if name in weights]
                ).sum()
            values = state.check_finite(terms)
            for group, lr in zip(optimiser.param_groups, highest, strict=True):
                group["lr"] = lr * schedule(state.step, steps, run)
            optimiser.zero_grad(set_to_none=True)
            scaler.scale(loss / processes.size).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimiser)
            scaler.update()
            state.add(values)
            on_step(state.step, steps, values)
            on_values(state.step, {f"lr/{n}": float(group["lr"]) for n, group in enumerate(optimiser.param_groups)})
            _select(state, signals, on_values)
            if signals.pending or (state.step % len(sampler) == 0 and state.step < steps):
                state.save(every_rank=signals.pending is not None)
            signals.raise_pending()
    method.eval()
    if selector is not None:
        selector.restore_best(method)
    return state


def _batches(
    sampler: Batches, images: Images, seed: int, start: int, steps: int, rows: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each step from ``start``: positions int64 [batch], and pixels uint8 [own, 3, size, size] of its ``rows``."""
    for epoch in range(start // len(sampler), math.ceil(steps / len(sampler))):
        first = epoch * len(sampler)
        batches = list(sampler.epoch(seed, epoch))[max(0, start - first) : steps - first]
        own = [[positions[row] for row in rows] for positions in batches]
        for positions, pixels in zip(batches, images.stream(own), strict=True):
            yield torch.tensor(positions), pixels


def _seed_draws(seed: int, step: int) -> torch.Generator:
    """Seed torch (for dropout) by seed and step, and return a generator for the augmentation."""
    number = (seed * 1_000_003 + step) % 2**63  # the largest that torch takes
    torch.manual_seed(number)
    return torch.Generator().manual_seed(number)


def _select(state: TrainingState, signals: Deferred, on_values: OnValues) -> None:
    """Score the last epoch unless it is scored; a signal interrupts scoring, and a resumed training repeats it."""
    if state.selector is None or state.selector.epochs == state.epochs:
        return
    try:
        with signals.at_once():
            value = state.selector.after_epoch(state.method)
    except KeyboardInterrupt:
        state.save(every_rank=True)
        raise
    on_values(state.step, {"epoch": float(state.epochs), state.selector.figure: value})


@contextmanager
def _save_when_lost(state: TrainingState, signals: Deferred) -> Iterator[None]:
    """Save the last full step if another process ends within the block."""
    try:
        with state.processes.watch():
            yield
    except LostProcessError:
        state.save(every_rank=True)  # rank 0 may be the one that ended
        signals.raise_pending()
        raise
