"""The training loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from bench.datasets.images.augmentation import Augmentation
from bench.datasets.images.loader import Images
from bench.datasets.images.samplers import BalancedBatches
from bench.devices import autocast, to_pixels
from bench.distributed.ddp import WholeBatchLosses, spread
from bench.distributed.failure import LostProcessError
from bench.distributed.process_group import ALONE, Processes
from bench.errors import IncompleteError, UsageError, nearest
from bench.methods.base import Method
from bench.settings.run_settings import RunSettings
from bench.signals import Deferred, deferred_signals
from bench.training.checkpoints import Checkpoints
from bench.types import Split

log = logging.getLogger("bench.training.loop")

# Told after every step: steps done, steps in all, the loss terms of the step (unweighted) by name.
OnStep = Callable[[int, int, dict[str, float]], None]


class Selector(Protocol):
    """Chooses the epoch whose network is kept; its memory is tensors, so that it survives in a checkpoint."""

    def after_epoch(self, method: Method) -> None:
        """Judge the method as it is now."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Everything that it must remember."""

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Remember what ``tensors`` gave."""

    def put_back(self, method: Method) -> None:
        """Give the method the chosen state."""


@dataclass(frozen=True)
class TrainingData:
    """Training images with their labels, int64 [images], and domains, bool [images], in the order of the split."""

    images: Images
    labels: Tensor
    is_photo: Tensor

    @classmethod
    def of(cls, split: Split, images: Images) -> TrainingData:
        """The training images of a split; ``images`` holds ``split.train`` in its order."""
        domains = torch.tensor([item.modality == "photo" for item in split.train])
        return cls(images, torch.from_numpy(split.train_labels(split.train)), domains)


def train(
    method: Method,
    data: TrainingData,
    run: RunSettings,
    *,
    seed: int,
    device: torch.device,
    precision: str,
    on_step: OnStep,
    checkpoints: Checkpoints | None = None,
    selector: Selector | None = None,
    processes: Processes = ALONE,
    compiled: bool = False,
) -> list[dict[str, float]]:
    """Train ``method`` in place; its curves: up to 100 points with ``step`` and the mean of each term since the last.

    With ``checkpoints`` it goes on from the state that is saved there, saves one after every epoch and on Ctrl-C or
    SIGTERM. ``selector`` sees the method after every epoch and may put an earlier state back at the end. Of several
    ``processes`` each looks at its share of every batch; the losses are those of the whole batch on all of them.
    ``compiled`` has torch compile what looks at images.

    Raises IncompleteError that names epoch and term when a loss is not finite, StorageError when a checkpoint cannot be
    written, UsageError when a batch cannot be split, LostProcessError when another process ended; the leader, or
    the process that speaks in its place, has then saved the state after the last whole step.
    """
    sampler = BalancedBatches(
        data.labels.numpy(), data.is_photo.numpy(), batch_size=run.batch_size, per_class=run.per_class
    )
    rows = sampler.share(processes.rank, processes.size)
    steps = max(1, round(run.epochs * len(sampler)))
    augmentation = Augmentation(run.rotation, run.scaling, run.shift, run.mirror, run.grayscale)
    optimiser = make_optimiser(method, run)
    highest = [group["lr"] for group in optimiser.param_groups]
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    weights = method.weights
    history = History(steps)
    start, began, spent = 0, time.perf_counter(), 0.0
    kept_history: Mapping[str, Any] = {}
    if checkpoints is not None:
        start, kept_history, extra = checkpoints.restore(method, optimiser, scaler, processes)
        history.restore(kept_history)
        spent = float(kept_history.get("seconds", 0.0))
        if start:
            log.info("The training goes on after step %d of %d.", start, steps)
        if selector is not None and start:
            selector.restore(extra)
    done, saved, whole = start, -1, True  # whole: no step is half done
    to_judge = bool(kept_history.get("to judge"))  # the epoch that ended at ``done``
    memory: Mapping[str, Tensor] = selector.tensors() if selector is not None else {}  # when it last had judged

    def save(stands_in: bool = False) -> None:
        nonlocal saved
        if checkpoints is not None and (processes.leads or stands_in) and saved != done:
            facts = {**history.state(), "seconds": spent + time.perf_counter() - began, "to judge": to_judge}
            checkpoints.save(done, method, optimiser, scaler, facts, memory)
            saved = done

    def judge(signals: Deferred) -> None:
        nonlocal memory, to_judge
        if selector is None:
            return
        to_judge = True
        try:
            with signals.at_once():  # it may take long, and can be done again
                selector.after_epoch(method)
        except KeyboardInterrupt:
            save()
            raise
        memory, to_judge = selector.tensors(), False

    method.train()
    losses = spread(WholeBatchLosses(method, processes, rows, compiled), optimiser, processes, device)
    try:
        with deferred_signals() as signals, torch.random.fork_rng(devices=[]), processes.company(signals):
            if to_judge:
                judge(signals)
            for positions, images in _stream(sampler, data.images, seed, start, steps, rows):
                # Whatever a network draws (dropout) is a function of the seed and the step, as the augmentation is.
                torch.manual_seed(_mix(seed, done))
                draws = torch.Generator().manual_seed(_mix(seed, done))
                pixels = augmentation(to_pixels(images, device), draws, rows, sampler.batch)  # [own, 3, size, size]
                labels = data.labels[positions].to(device)  # [batch]
                is_photo = data.is_photo[positions].to(device)  # [batch]
                with autocast(device, precision):
                    terms = losses(pixels, labels, is_photo)  # each a scalar
                    loss = torch.stack([weights[name] * value.float() for name, value in terms.items()]).sum()
                values = _finite(terms, done, len(sampler))
                for group, lr in zip(optimiser.param_groups, highest, strict=True):
                    group["lr"] = lr * rate(done, steps, run)
                optimiser.zero_grad(set_to_none=True)
                scaler.scale(loss / processes.size).backward()  # type: ignore[no-untyped-call]
                whole = False
                scaler.step(optimiser)
                scaler.update()
                done += 1
                history.add(done, values)
                whole = True
                on_step(done, steps, values)
                epoch_ends = done % len(sampler) == 0 or done == steps
                if epoch_ends:
                    judge(signals)
                if signals.asked or (epoch_ends and done < steps):
                    save()
                signals.raise_if_asked()
    except (LostProcessError, KeyboardInterrupt) as error:
        # As it was after the last whole step: a step that fails halfway has changed no parameter.
        if whole and processes.size > 1:
            save(stands_in=isinstance(error, LostProcessError) and not error.said_elsewhere)
        raise
    method.eval()
    if selector is not None:
        selector.put_back(method)
    return history.points


class History:
    """Training curves: at most about 100 points, each the mean of every term over the steps since the last."""

    def __init__(self, steps: int) -> None:
        self.every = max(1, math.ceil(steps / 100))
        self.points: list[dict[str, float]] = []
        self._since: list[dict[str, float]] = []

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Note the terms of one step (counted from 1)."""
        self._since.append(dict(values))
        if step % self.every == 0:
            means = {name: sum(each[name] for each in self._since) / len(self._since) for name in values}
            self.points.append({"step": float(step), **means})
            self._since = []

    def state(self) -> dict[str, list[dict[str, float]]]:
        """Everything that it must remember."""
        return {"points": self.points, "since": self._since}

    def restore(self, state: Mapping[str, list[dict[str, float]]]) -> None:
        """Remember what ``state`` gave."""
        self.points, self._since = list(state.get("points", ())), list(state.get("since", ()))


def _finite(terms: Mapping[str, Tensor], step: int, steps_an_epoch: int) -> dict[str, float]:
    values = dict(zip(terms, torch.stack([each.detach().float() for each in terms.values()]).tolist(), strict=True))
    for name, value in values.items():
        if not math.isfinite(value):
            raise IncompleteError(
                f"Loss term {name!r} became {value} in epoch {1 + step // steps_an_epoch} (step {step + 1}): lower "
                "--lr or --set head_lr=..., or use --precision fp32."
            )
    return values


def _stream(
    sampler: BalancedBatches, images: Images, seed: int, start: int, steps: int, rows: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """The steps from ``start`` on: positions int64 [batch], and pixels uint8 [own, 3, size, size] of its ``rows``."""
    for epoch in range(start // len(sampler), math.ceil(steps / len(sampler))):
        first = epoch * len(sampler)
        batches = list(sampler.epoch(seed, epoch))[max(0, start - first) : steps - first]
        mine = [[positions[row] for row in rows] for positions in batches]
        for positions, pixels in zip(batches, images.stream(mine), strict=True):
            yield torch.tensor(positions), pixels


def _mix(seed: int, step: int) -> int:
    return seed * 1_000_003 + step


def make_optimiser(method: Method, run: RunSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over the method's groups; raises UsageError for another name."""
    kinds: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    if run.optimiser not in kinds:
        raise UsageError(f"There is no optimiser {run.optimiser!r}. {nearest(run.optimiser, kinds)}")
    optimiser: torch.optim.Optimizer = kinds[run.optimiser](
        method.parameter_groups(), lr=run.lr, weight_decay=run.weight_decay, fused=True
    )
    return optimiser


def rate(step: int, steps: int, run: RunSettings) -> float:
    """The learning rate at a step (from 0) as a part of the highest; raises UsageError for an unknown schedule."""
    if run.schedule == "constant":
        return 1.0
    if run.schedule == "exponential":
        return float(0.001 ** (step / steps))
    if run.schedule == "one-cycle":
        rising = run.warmup * steps
        if step < rising:
            return (step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))
    raise UsageError(
        f"There is no schedule {run.schedule!r}. {nearest(run.schedule, ['constant', 'exponential', 'one-cycle'])}"
    )
