"""A training step of `ours` beside the same step with the teacher online: what the prepared table saves.

Run: python benchmarks/training_step.py [--set KEY=VALUE ...] [--repeats N] [--steps N] [--threads N]

Both sides are `ours` on one batch of the embedded images with the same settings; they differ in `teacher` alone, and
both do what the training loop does after loading and augmentation: losses, gradients, optimiser. Repeats of both sides
alternate, because other programs run on the machine, and for the same reason seconds are those of the process, not of
the clock; the least and the median of each side are printed. What is saved is given as a part of the online step. The
table itself costs one pass over the training photos, once for all runs and seeds; a pass is timed, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bench.devices import to_pixels
from bench.engine import build
from bench.experiment import Experiment, Request, Resources, resolve
from bench.training import TrainingData, make_optimiser
from bench.types import Batch
from datasets.images import Images
from datasets.samplers import BalancedBatches
from methods.base import Method, TrainingPhotos

DEVICE = torch.device("cpu")
TARGET = 0.2


def first_batch(experiment: Experiment) -> Batch:
    """The first batch that the sampler draws, without augmentation."""
    images = Images(experiment.dataset, experiment.split.train, experiment.run.image_size)
    data = TrainingData.of(experiment.split, images)
    run = experiment.run
    sampler = BalancedBatches(
        data.labels.numpy(), data.is_photo.numpy(), batch_size=run.batch_size, per_class=run.per_class
    )
    positions = next(iter(sampler.epoch(seed=0, epoch=0)))
    return Batch(to_pixels(images.stack(positions), DEVICE), data.labels[positions], data.is_photo[positions])


def photos_of(batch: Batch, classes: int) -> TrainingPhotos:
    """The photos of a batch as those of training, with labels that give every class one: the table is then whole."""
    images = batch.images[batch.is_photo]
    labels = torch.arange(classes)

    def batches():  # type: ignore[no-untyped-def]
        for start in range(0, classes, len(images)):
            part = labels[start : start + len(images)]
            yield images[: len(part)], part

    return TrainingPhotos(batches, tuple(map(str, range(classes))), "a benchmark")


def stepper(method: Method, experiment: Experiment, batch: Batch) -> Callable[[], None]:
    """One training step of a prepared method."""
    optimiser = make_optimiser(method.train(), experiment.run)

    def step() -> None:
        terms = method.losses(batch)
        loss = torch.stack([method.weights[name] * value for name, value in terms.items()]).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return step


def seconds(step: Callable[[], None], steps: int) -> float:
    """Seconds of the process that one step takes, the mean of several."""
    start = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - start) / steps


def main() -> None:
    """Build both sides, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3, help="training steps a repeat")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        resources = Resources(data_root=Path(folder), cache_dir=Path(folder), device="cpu")
        sides = {
            name: resolve(
                Request("ours", "emoji", structural=structural, assignments=tuple(options.assignments)), resources
            )
            for name, structural in (("prepared", ""), ("online-teacher", "online-teacher"))
        }
        batch = first_batch(sides["prepared"])
        steps = {}
        pass_seconds = 0.0
        for name, experiment in sides.items():
            method = build(experiment, resources, DEVICE)
            photos = photos_of(batch, len(experiment.split.seen))
            start = time.process_time()
            method.prepare(photos)
            if name == "prepared":
                pass_seconds = (time.process_time() - start) / len(photos.paths)
            steps[name] = stepper(method, experiment, batch)
        found: dict[str, list[float]] = {name: [] for name in steps}
        for repeat in range(options.repeats + 1):
            for name, step in steps.items():
                taken = seconds(step, options.steps if repeat else 1)
                if repeat:  # the first warms up
                    found[name].append(taken)
    run = sides["prepared"].run
    print(
        f"{run.backbone}, {run.image_size} px, batch {len(batch.labels)} ({int(batch.is_photo.sum())} photos), "
        f"{run.frozen_blocks} blocks frozen, {options.threads} thread(s), {options.repeats} repeats of "
        f"{options.steps} steps, load average {os.getloadavg()[0]:.1f}"
    )
    for name, each in found.items():
        print(f"{name:<15} {1000 * min(each):8.1f} ms a step (median {1000 * statistics.median(each):.1f})")
    least = {name: min(each) for name, each in found.items()}
    saved = least["online-teacher"] - least["prepared"]
    print(
        f"saved           {1000 * saved:8.1f} ms a step, {saved / least['online-teacher']:.1%} of the online step "
        f"(target {TARGET:.0%}); ratio {least['online-teacher'] / least['prepared']:.3f}"
    )
    photos_a_step = int(batch.is_photo.sum())
    print(
        f"table           {1000 * pass_seconds:8.1f} ms a photo, once: made good after "
        f"{pass_seconds * photos_a_step / saved:.1f} passes over the photos"
    )


if __name__ == "__main__":
    main()
