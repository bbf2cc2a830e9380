"""A training step of `ours` beside the same step with the teacher online: what the prepared table saves.

Run: python benchmarks/training_step.py [--set KEY=VALUE ...] [--repeats N] [--steps N] [--threads N]

All sides are `ours` on one batch of the embedded images with the same settings; they differ in `teacher` alone, and
all do what the training loop does after loading and augmentation: losses, gradients, optimiser. `online-teacher` is the
structural ablation, which does as the published code of SAKE: the teacher looks at every image of the batch, and its
word on sketches is not used. `photos only` is the same with a teacher that is shown the photos of the batch alone: the
least that a teacher beside the student can cost. `torch's gradient` is the prepared side without
``methods/backbone/small_map_depthwise.py``.

Repeats of all sides alternate, because other programs run on the machine, and for the same reason seconds are those of
the process, not of the clock; the least and the median of each side are printed. What is saved is given as a part of
the online step. The table costs one pass over the training photos, once for all runs and seeds; it is timed, too.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.datasets.images.loader import Images
from bench.datasets.images.samplers import BalancedBatches
from bench.devices import to_pixels
from bench.experiments.execute import build
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.resolve import resolve
from bench.methods.backbone.small_map_depthwise import SmallMapDepthwise
from bench.methods.base import Method, TrainingPhotos
from bench.methods.modules.teacher import Teacher
from bench.settings.request import Request
from bench.training.loop import TrainingData
from bench.types import Batch

DEVICE = torch.device("cpu")
TARGET = 0.2
PLAIN = "torch's gradient"


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
    """The photos of a batch, over and over, as the training photos: one of each class, so that the table is whole."""
    images = batch.images[batch.is_photo]
    labels = torch.arange(classes)

    def through(function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(images).repeat(-(-classes // len(images)), 1)[:classes]

    return TrainingPhotos(through, labels, tuple(map(str, range(classes))), "a benchmark")


class PhotosOnly:
    """A teacher that is shown the photos of one batch and says nothing of its sketches."""

    def __init__(self, teacher: Teacher, is_photo: Tensor) -> None:
        self.teacher, self.is_photo = teacher, is_photo

    def logits(self, images: Tensor) -> Tensor:
        """As ``Teacher.logits``; the rows of sketches are 0."""
        photos = self.teacher.logits(images[self.is_photo])  # [photos, 1000]
        return photos.new_zeros((len(images), photos.shape[1])).index_put((self.is_photo,), photos)


def use_torchs_gradient(method: Method) -> None:
    """Undo ``methods/backbone/small_map_depthwise.py``."""
    for module in method.modules():
        if isinstance(module, SmallMapDepthwise):
            module.forward = functools.partial(nn.Conv2d.forward, module)


def stepper(method: Method, experiment: Experiment, batch: Batch) -> Callable[[], None]:
    """One training step of a prepared method."""
    optimiser = method.train().optimiser(experiment.run)

    def step() -> None:
        terms = method.losses(method.outputs(batch), batch.labels, batch.is_photo)
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
            (PLAIN, prepared),
        ):
            method = build(experiment, resources, DEVICE)
            start = time.process_time()
            method.prepare(photos)
            if name == "prepared":
                pass_seconds = (time.process_time() - start) / int(batch.is_photo.sum())  # each looked at once
            if name == "photos only":
                method.teacher = PhotosOnly(method.teacher, batch.is_photo)
            if name == PLAIN:
                use_torchs_gradient(method)
            steps[name] = stepper(method, experiment, batch)
        found: dict[str, list[float]] = {name: [] for name in steps}
        for repeat in range(options.repeats + 1):
            for name, step in steps.items():
                taken = seconds(step, options.steps if repeat else 1)
                if repeat:  # the first warms up
                    found[name].append(taken)
    run, photo_count = prepared.run, int(batch.is_photo.sum())
    print(
        f"{run.backbone}, {run.image_size} px, batch {len(batch.labels)} ({photo_count} photos), "
        f"{run.frozen_blocks} blocks frozen, {options.threads} thread(s), {options.repeats} repeats of "
        f"{options.steps} steps, load average {os.getloadavg()[0]:.1f}"
    )
    least = {name: min(each) for name, each in found.items()}
    for name, each in found.items():
        print(f"{name:<16} {1000 * least[name]:8.1f} ms a step (median {1000 * statistics.median(each):.1f})")
    for name in ("online-teacher", "photos only"):
        saved = least[name] - least["prepared"]
        target = f"; target {TARGET:.0%}" if name == "online-teacher" else ""
        print(
            f"the table saves  {1000 * saved:8.1f} ms, {saved / least[name]:.1%} of a step of {name!r} "
            f"(ratio {least[name] / least['prepared']:.3f}{target})"
        )
    print(f"a quick gradient  {1 - least['prepared'] / least[PLAIN]:.1%} of a step saved by small_map_depthwise.py")
    saved = least["photos only"] - least["prepared"]
    print(
        f"the table costs  {1000 * pass_seconds:8.1f} ms a photo, once: made good after "
        f"{pass_seconds * photo_count / saved:.1f} passes over the photos"
    )


if __name__ == "__main__":
    main()
