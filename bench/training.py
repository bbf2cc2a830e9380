"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.devices import autocast, to_pixels
from bench.errors import IncompleteError, UsageError, nearest
from bench.settings import RunSettings
from bench.types import Batch, Split
from datasets.augmentation import Augmentation
from datasets.images import Images
from datasets.samplers import BalancedBatches
from methods.base import Method

# Told after every step: steps done, steps in all, the loss terms of the step (unweighted) by name.
OnStep = Callable[[int, int, dict[str, float]], None]


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
) -> None:
    """Train ``method`` in place. Raises IncompleteError that names epoch and term when a loss is not finite."""
    sampler = BalancedBatches(
        data.labels.numpy(), data.is_photo.numpy(), batch_size=run.batch_size, per_class=run.per_class
    )
    steps = max(1, round(run.epochs * len(sampler)))
    augmentation = Augmentation(run.rotation, run.scaling, run.shift, run.mirror)
    optimiser = make_optimiser(method, run)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step, steps, run))
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    weights = method.weights
    method.train()
    for step, (positions, images) in enumerate(_stream(sampler, data.images, seed, steps)):
        draws = torch.Generator().manual_seed(_mix(seed, step))
        batch = Batch(
            images=augmentation(to_pixels(images, device), draws),  # [batch, 3, size, size]
            labels=data.labels[positions].to(device),  # [batch]
            is_photo=data.is_photo[positions].to(device),  # [batch]
        )
        with autocast(device, precision):
            terms = method.losses(batch)  # each a scalar
            loss = torch.stack([weights[name] * value.float() for name, value in terms.items()]).sum()
        values = dict(zip(terms, torch.stack([each.detach().float() for each in terms.values()]).tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                epoch = 1 + step // len(sampler)
                raise IncompleteError(
                    f"Loss term {name!r} became {value} in epoch {epoch} (step {step + 1}): lower --lr or "
                    "--set head_lr=..., or use --precision fp32."
                )
        optimiser.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimiser)
        scaler.update()
        scheduler.step()
        on_step(step + 1, steps, values)
    method.eval()


def _stream(sampler: BalancedBatches, images: Images, seed: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Positions int64 [batch] and pixels uint8 [batch, 3, size, size] of each step."""
    left = steps
    for epoch in range(math.ceil(steps / len(sampler))):
        batches = list(sampler.epoch(seed, epoch))[:left]
        left -= len(batches)
        for positions, pixels in zip(batches, images.stream(batches), strict=True):
            yield torch.tensor(positions), pixels


def _mix(seed: int, step: int) -> int:
    return seed * 1_000_003 + step


def make_optimiser(method: Method, run: RunSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over the method's groups; raises UsageError for another name."""
    kinds: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    if run.optimiser not in kinds:
        raise UsageError(f"There is no optimiser {run.optimiser!r}. {nearest(run.optimiser, kinds)}")
    optimiser: torch.optim.Optimizer = kinds[run.optimiser](
        method.parameter_groups(), lr=run.lr, weight_decay=run.weight_decay
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
