"""Every registered method, because it is registered: it trains on real images, its loss falls, it embeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.engine import Experiment, Request, Resources, build, embed_test_images, execute, resolve
from bench.training import TrainingData, train
from datasets.images import Images
from methods.base import METHODS, TrainingPhotos
from tests.conftest import Quiet

STEPS = 8
SMALL = ("image_size=48", "batch_size=32", "per_class=2", "frozen_blocks=5", "rotation=0", "scaling=0", "shift=0")
DEVICE = torch.device("cpu")


def small(name: str, resources: Resources, **changes: object) -> Experiment:
    """The method on 8 seen and 6 unseen classes of `emoji`."""
    experiment = resolve(Request(name, "emoji", assignments=SMALL), resources)
    split = experiment.split
    seen, unseen = split.seen[:8], split.unseen[:6]
    split = replace(
        split,
        seen=seen,
        unseen=unseen,
        train=tuple(item for item in split.train if item.class_name in seen),
        queries=tuple(item for item in split.queries if item.class_name in unseen),
        gallery=tuple(item for item in split.gallery if item.class_name in unseen),
    )
    return replace(experiment, split=split, **changes)


def losses_while_training(experiment: Experiment, resources: Resources) -> list[dict[str, float]]:
    """Terms of each of `STEPS` steps without augmentation."""
    method = build(experiment, resources, DEVICE)
    images = Images(experiment.dataset, experiment.split.train, experiment.run.image_size)
    data = TrainingData.of(experiment.split, images)
    steps_an_epoch = max(1, len(images) // experiment.run.batch_size)
    run = replace(experiment.run, epochs=STEPS / steps_an_epoch, schedule="constant", mirror=False, head_lr=1e-3)
    positions = data.is_photo.nonzero()[:, 0].tolist()

    def batches():  # type: ignore[no-untyped-def]
        yield next(iter(images.stream([positions]))) / 255.0, data.labels[positions]

    method.prepare(TrainingPhotos(batches, tuple(experiment.split.train[p].path for p in positions), "a test"))
    seen: list[dict[str, float]] = []
    train(
        method,
        data,
        run,
        seed=0,
        device=DEVICE,
        precision="fp32",
        on_step=lambda step, steps, terms: seen.append(dict(terms)),
    )
    return seen


@pytest.mark.parametrize("name", [name for name in METHODS.names() if METHODS.get(name).terms])
def test_every_trained_method_learns(name: str, resources: Resources) -> None:
    experiment = small(name, resources)
    steps = losses_while_training(experiment, resources)
    assert len(steps) == STEPS
    assert set(steps[0]) == set(experiment.method.terms)
    total = [sum(step.values()) for step in steps]
    assert np.mean(total[-2:]) < 0.95 * np.mean(total[:2])


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_embeds_both_domains(name: str, resources: Resources, quiet: Quiet) -> None:
    experiment = small(name, resources)
    method = build(experiment, resources, DEVICE)
    embeddings = embed_test_images(method, experiment, resources, DEVICE, quiet)
    assert len(embeddings.query) == len(experiment.split.queries)
    assert len(embeddings.gallery) == len(experiment.split.gallery)
    assert embeddings.gallery.std(axis=0).max() > 0


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_explains_itself(name: str) -> None:
    method = METHODS.get(name)
    assert method.name == name
    assert method.summary.endswith(".")
    assert all(hasattr(method.Settings(), f"weight_{term}") for term in method.terms)


ABLATIONS = [
    (name, term) for name in METHODS.names() for term in METHODS.get(name).terms if len(METHODS.get(name).terms) > 1
]


@pytest.mark.parametrize(("name", "term"), ABLATIONS)
def test_every_ablation_leaves_its_term_uncomputed(name: str, term: str, resources: Resources) -> None:
    full = small(name, resources)
    dropped = replace(full, own=replace(full.own, **{f"weight_{term}": 0.0}))
    steps = losses_while_training(dropped, resources)
    assert term not in steps[0]
    assert set(steps[0]) == set(full.method.terms) - {term}


def test_the_same_seed_gives_the_same_scores(resources: Resources, quiet: Quiet) -> None:
    experiment = small("ours", resources, run=replace(small("ours", resources).run, epochs=1.0))
    first, _ = execute(experiment, resources, quiet)
    again, _ = execute(experiment, resources, quiet)
    other, _ = execute(replace(experiment, seed=1), resources, quiet)
    assert first == again
    assert first != other


def test_a_run_lands_in_the_cache_and_uses_it(tmp_path: Path, quiet: Quiet) -> None:
    resources = Resources(data_root=tmp_path, cache_dir=tmp_path / "cache", device="cpu")
    experiment = small("ours", resources, run=replace(small("ours", resources).run, epochs=0.3))
    first, _ = execute(experiment, resources, quiet)
    tables = list((tmp_path / "cache" / "knowledge").glob("*.safetensors"))
    assert len(tables) == 1
    tables[0].write_bytes(b"damaged")
    again, _ = execute(experiment, resources, quiet)
    assert first == again
    assert tables[0].stat().st_size > 8
