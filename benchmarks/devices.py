"""Ranking and a training step on a device: seconds, and how far the figures are from the processor's.

    python benchmarks/devices.py [--device NAME] [--photos N] [--queries N] [--dim N] [--image-size N] [--batch-size N]
        [--repeats N]

Ranking computes every default metric of normal clouds, by the engine of the device and by that of the processor. A step
is losses, gradients and optimiser of `softmax` on one batch of the included images. The best repeat counts. Compare
ratios: other programs may run on the machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bench.datasets.images.loader import Images
from bench.datasets.images.samplers import make_batches
from bench.devices import PRECISIONS, autocast, be_deterministic, choose_device, to_pixels
from bench.embeddings.arrays import Embeddings
from bench.evaluation.metrics.base import DEFAULT_METRICS
from bench.evaluation.ranking import rank
from bench.evaluation.ranking_gpu import rank_with_torch
from bench.evaluation.ranking_result import Ranking
from bench.experiments.execute import build
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.resolve import resolve
from bench.methods.base import Method
from bench.settings.request import Request
from bench.settings.run_settings import RunSettings
from bench.training.loop import TrainingData
from bench.types import Batch

CLASSES = 30


def best_of(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The least seconds of ``repeats`` calls after one that warms up."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def clouds(queries: int, photos: int, width: int) -> Embeddings:
    """A normal cloud around a centre for each class."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((CLASSES, width), dtype=np.float32)
    labels = [generator.integers(0, CLASSES, rows) for rows in (queries, photos)]
    query, gallery = (
        centres[own] + 4 * generator.standard_normal((len(own), width), dtype=np.float32) for own in labels
    )
    return Embeddings(query, gallery, *labels)


def compare_ranking(device: torch.device, made: Embeddings, repeats: int) -> None:
    """Print seconds of both engines and the largest difference of a mean."""
    found: dict[str, Ranking] = {}

    def on_device() -> None:
        found["device"] = rank_with_torch(made, DEFAULT_METRICS, device=str(device))

    def on_processor() -> None:
        found["processor"] = rank(made, DEFAULT_METRICS)

    here, there = best_of(on_device, device, repeats), best_of(on_processor, device, repeats)
    apart = max(
        abs(found["device"].score(name).value - found["processor"].score(name).value) for name in DEFAULT_METRICS
    )
    print(
        f"ranking {len(made.query)} x {len(made.gallery)} x {made.query.shape[1]}: {here:.3f} s on {device}, "
        f"{there:.3f} s on the processor, ratio {there / here:.2f}, largest difference of a mean {apart:.1e}"
    )


def first_batch(experiment: Experiment, device: torch.device) -> Batch:
    """The first batch of the sampler, without augmentation."""
    data = TrainingData.of(
        experiment.split, Images(experiment.dataset, experiment.split.train, experiment.run.image_size)
    )
    sampler = make_batches(experiment.run, data.labels.numpy(), data.is_photo.numpy(), None)
    positions = next(iter(sampler.epoch(seed=0, epoch=0)))
    labels, is_photo = data.labels[positions].to(device), data.is_photo[positions].to(device)
    return Batch(to_pixels(data.images.stack(positions), device), labels, is_photo)


def measure_step(method: Method, run: RunSettings, batch: Batch, precision: str, repeats: int) -> tuple[float, float]:
    """Seconds of a training step, and the loss of the first."""
    device = batch.images.device
    optimiser = method.train().optimiser(run)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    losses = []

    def step() -> None:
        with autocast(device, precision):
            terms = method.losses(method.outputs(batch), batch.labels, batch.is_photo)
            loss = torch.stack([value.float() for value in terms.values()]).sum()
        losses.append(loss.item())
        optimiser.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimiser)
        scaler.update()

    return best_of(step, device, repeats), losses[0]


def measure_steps(device: torch.device, assignments: tuple[str, ...], folder: Path, repeats: int) -> None:
    """Print milliseconds of a training step in each precision."""
    resources = Resources(data_root=folder, cache_dir=folder, device=str(device))
    experiment = resolve(Request("softmax", "emoji", assignments=assignments), resources)
    run, batch = experiment.run, first_batch(experiment, device)
    for precision in PRECISIONS:
        if precision == "fp16" and device.type == "cpu":
            continue  # slow on a processor, and of no use there
        torch.manual_seed(0)
        seconds, loss = measure_step(build(experiment, resources, device), run, batch, precision, repeats)
        print(
            f"training step of {run.backbone}, {run.image_size} px, batch {run.batch_size}, {precision}: "
            f"{1000 * seconds:.1f} ms, first loss {loss:.4f}"
        )


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--photos", type=int, default=27_989, help="those of TU-Berlin's 30 unseen classes")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    device = choose_device(options.device)
    be_deterministic(device)
    compare_ranking(device, clouds(options.queries, options.photos, options.dim), options.repeats)
    assignments = (f"image_size={options.image_size}", f"batch_size={options.batch_size}")
    with tempfile.TemporaryDirectory() as folder:
        measure_steps(device, assignments, Path(folder), options.repeats)


if __name__ == "__main__":
    main()
