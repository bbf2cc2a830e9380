"""Time of a training step of `ours` with the prepared table and with an online teacher, or of every method.

Run: python benchmarks/training_step.py [--methods] [--set KEY=VALUE ...] [--repeats N] [--steps N] [--threads N]

All variants train `ours` on one batch of the included images: losses, gradients, optimiser. They differ as follows:

prepared          the default: targets come from the table
online-teacher    the structural ablation, as in SAKE's code: the teacher sees all images, sketch targets are unused
photos only       the teacher sees only photos: the least that an online teacher costs

Repeats alternate and seconds are processor time, because other programs may run on the machine. The least and the
median are printed, and the saving as a share of the online step. The table costs one pass over the training photos for
all runs and seeds; that time is printed, too.

With --methods, every trained method takes a step on the same batch, with the same network and optimiser, and its own
losses. The network has random weights, which cost what trained ones do, and is a vision transformer, because some
methods take no other. The ratio to `softmax` is printed, and the share of a method's numbers that it trains.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.datasets.images.loader import Images
from bench.datasets.images.samplers import BalancedBatches
from bench.devices import keep_freed_memory, to_pixels
from bench.experiments.execute import build
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.resolve import resolve
from bench.methods.base import METHODS, Method, TrainingPhotos
from bench.methods.modules import text_tower
from bench.methods.modules.teacher import Teacher
from bench.settings.request import Request
from bench.training.loop import TrainingData
from bench.types import Batch

DEVICE = torch.device("cpu")
TARGET = 0.2
REFERENCE = "softmax"
ALIKE = (
    "backbone=vit_tiny_patch16_224",
    "weights=none",
    "image_size=96",
    "batch_size=16",
    "per_class=2",
    "frozen_blocks=-1",
    "optimiser=adamw",
)


def first_batch(experiment: Experiment) -> Batch:
    """The first batch of the sampler, without augmentation."""
    images = Images(experiment.dataset, experiment.split.train, experiment.run.image_size)
    data = TrainingData.of(experiment.split, images)
    run = experiment.run
    sampler = BalancedBatches(
        data.labels.numpy(), data.is_photo.numpy(), batch_size=run.batch_size, per_class=run.per_class
    )
    positions = next(iter(sampler.epoch(seed=0, epoch=0)))
    return Batch(to_pixels(images.stack(positions), DEVICE), data.labels[positions], data.is_photo[positions])


def photos_of(batch: Batch, classes: int) -> TrainingPhotos:
    """Training photos made by repeating those of a batch, one per class, so that the table is complete."""
    images = batch.images[batch.is_photo]
    labels = torch.arange(classes)

    def apply(function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(images).repeat(-(-classes // len(images)), 1)[:classes]

    return TrainingPhotos(apply, labels, tuple(map(str, range(classes))), "a benchmark")


class PhotosOnly:
    """A teacher that sees only the photos of a batch."""

    def __init__(self, teacher: Teacher, is_photo: Tensor) -> None:
        self.teacher, self.is_photo = teacher, is_photo

    def logits(self, images: Tensor) -> Tensor:
        """As ``Teacher.logits``; the rows of sketches are 0."""
        photos = self.teacher.logits(images[self.is_photo])  # [photos, 1000]
        return photos.new_zeros((len(images), photos.shape[1])).index_put((self.is_photo,), photos)


def make_step(method: Method, experiment: Experiment, batch: Batch) -> Callable[[], None]:
    """One training step of a prepared method."""
    optimiser = method.train().optimiser(experiment.run)

    def step() -> None:
        terms = method.losses(method.outputs(batch), batch.labels, batch.is_photo)
        loss = torch.stack([method.weights[name] * value for name, value in terms.items()]).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def measure_step(step: Callable[[], None], steps: int) -> float:
    """Mean processor time of a step in seconds."""
    start = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - start) / steps


def measure_in_turn(steps: Mapping[str, Callable[[], None]], repeats: int, count: int) -> dict[str, list[float]]:
    """Seconds of ``count`` steps of each, for every repeat; a first one warms up."""
    seconds_of: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            duration = measure_step(step, count if repeat else 1)
            if repeat:
                seconds_of[name].append(duration)
    return seconds_of


def compare_methods(assignments: Sequence[str], repeats: int, count: int, folder: Path) -> None:
    """Measure a step of every trained method, and print it."""
    # Class names are encoded once, before training, by a text tower that is no part of a step: one layer is enough.
    text_tower.RANDOM = {**text_tower.RANDOM, "layers": 1}
    resources = Resources(data_root=folder, cache_dir=folder, device="cpu")
    given = {each.partition("=")[0] for each in assignments}
    alike = (*(each for each in ALIKE if each.partition("=")[0] not in given), *assignments)
    steps, shares = {}, {}
    for name in (name for name in METHODS.names() if METHODS.get(name).terms):
        experiment = resolve(Request(name, "emoji", assignments=alike), resources)
        batch = first_batch(experiment)
        method = build(experiment, resources, DEVICE)
        method.prepare(photos_of(batch, len(experiment.split.seen)))
        steps[name] = make_step(method, experiment, batch)
        trained = {id(each): each.numel() for group in method.parameter_groups() for each in group["params"]}
        shares[name] = sum(trained.values()) / sum(each.numel() for each in method.parameters())
    least = {name: min(each) for name, each in measure_in_turn(steps, repeats, count).items()}
    run = experiment.run
    print(
        f"{run.backbone}, {run.image_size} px, batch {len(batch.labels)}, {torch.get_num_threads()} thread(s), "
        f"{repeats} repeats of {count} steps, load average {os.getloadavg()[0]:.1f}"
    )
    for name in sorted(least, key=lambda each: least[each]):
        ratio = least[name] / least[REFERENCE]
        print(f"{name:<12} {1000 * least[name]:8.1f} ms a step, {ratio:.2f} of softmax, {shares[name]:.1%} trained")


def main() -> None:
    """Build all variants, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", action="store_true", help="measure a step of every method")
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="training steps a repeat")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory(DEVICE)
    with tempfile.TemporaryDirectory() as folder:
        if options.methods:
            compare_methods(options.assignments, options.repeats, options.steps, Path(folder))
            return
        resources = Resources(data_root=Path(folder), cache_dir=Path(folder), device="cpu")
        prepared, online = (
            resolve(Request("ours", "emoji", structural=name, assignments=tuple(options.assignments)), resources)
            for name in ("", "online-teacher")
        )
        batch = first_batch(prepared)
        photos = photos_of(batch, len(prepared.split.seen))
        steps = {}
        pass_seconds = 0.0
        for name, experiment in (
            ("prepared", prepared),
            ("online-teacher", online),
            ("photos only", online),
        ):
            method = build(experiment, resources, DEVICE)
            start = time.process_time()
            method.prepare(photos)
            if name == "prepared":
                pass_seconds = (time.process_time() - start) / int(batch.is_photo.sum())  # one pass
            if name == "photos only":
                method.teacher = PhotosOnly(method.teacher, batch.is_photo)
            steps[name] = make_step(method, experiment, batch)
        seconds_of = measure_in_turn(steps, options.repeats, options.steps)
    run, photo_count = prepared.run, int(batch.is_photo.sum())
    print(
        f"{run.backbone}, {run.image_size} px, batch {len(batch.labels)} ({photo_count} photos), "
        f"{run.frozen_blocks} blocks frozen, {options.threads} thread(s), {options.repeats} repeats of "
        f"{options.steps} steps, load average {os.getloadavg()[0]:.1f}"
    )
    least = {name: min(each) for name, each in seconds_of.items()}
    for name, each in seconds_of.items():
        print(f"{name:<16} {1000 * least[name]:8.1f} ms a step (median {1000 * statistics.median(each):.1f})")
    for name in ("online-teacher", "photos only"):
        saved = least[name] - least["prepared"]
        target = f"; target {TARGET:.0%}" if name == "online-teacher" else ""
        print(
            f"the table saves  {1000 * saved:8.1f} ms, {saved / least[name]:.1%} of a step of {name!r} "
            f"(ratio {least[name] / least['prepared']:.3f}{target})"
        )
    saved = least["photos only"] - least["prepared"]
    print(
        f"the table costs  {1000 * pass_seconds:8.1f} ms a photo, once: made good after "
        f"{pass_seconds * photo_count / saved:.1f} passes over the photos"
    )


if __name__ == "__main__":
    main()
