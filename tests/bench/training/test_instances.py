"""Training on instances (``positives=instance``): batches of pairs, the losses that use them, and who is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.datasets.images.samplers import InstanceBatches
from bench.errors import DataError, UsageError
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.resolve import resolve
from bench.experiments.run import run_and_store
from bench.methods.base import METHODS
from bench.methods.modules import losses
from bench.results.store import Store
from bench.settings.request import Request
from tests.conftest import Quiet
from tests.datasets.trees import picture, plant_qmul

SMALL = ("backbone=tf_efficientnet_lite0", "image_size=32", "epochs=0.02", "frozen_blocks=5")


@given(st.integers(0, 999), st.integers(1, 5), st.integers(1, 3), st.sampled_from([8, 24]))
def test_a_sketch_stands_beside_a_photo_of_its_instance(seed: int, classes: int, per_class: int, batch: int) -> None:
    random = np.random.default_rng(seed)
    instances = np.repeat(np.arange(4 * classes), random.integers(2, 6, 4 * classes))
    labels, is_photo = instances // 4, random.random(len(instances)) < 0.5
    for instance in range(4 * classes):  # each has both, but for the last one
        first = np.flatnonzero(instances == instance)
        is_photo[first[0]], is_photo[first[1]] = False, instance < 4 * classes - 1
        is_photo[first[2:]] &= instance < 4 * classes - 1
    sampler = InstanceBatches(labels, is_photo, instances, batch_size=batch, per_class=per_class)
    assert sampler.batch >= min(batch, 2 * classes * per_class) - 2 * per_class
    for positions in sampler.epoch(seed, 1):
        sketches, photos = np.split(np.array(positions), 2)
        assert len(positions) == sampler.batch
        assert not is_photo[sketches].any()
        assert is_photo[photos].all()
        np.testing.assert_array_equal(instances[sketches], instances[photos])
        assert 4 * classes - 1 not in instances[sketches]  # it has no photo
    assert list(sampler.epoch(seed, 1)) == list(sampler.epoch(seed, 1))


def test_a_class_without_a_pair_is_refused() -> None:
    with pytest.raises(DataError, match="no sketch beside its photo"):
        InstanceBatches(np.zeros(2, int), np.array([False, True]), np.array([0, 1]), batch_size=4, per_class=1)


@pytest.mark.parametrize(("method", "term"), [("ours", "quadruplet"), ("triplet", "triplet")])
def test_other_photos_of_the_class_are_negatives(method: str, term: str, tmp_path: Path) -> None:
    experiment = resolved(tmp_path, method, "positives=instance")
    made = METHODS.get(method)(experiment.own, _context(experiment, tmp_path))
    embedding = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    labels, is_photo = torch.zeros(8, dtype=torch.int64), torch.arange(8) >= 4
    instances = torch.arange(8) % 4
    found = made.losses({"embedding": embedding, "instance": instances}, labels, is_photo)[term]
    function = losses.balanced_quadruplet if method == "ours" else losses.cross_domain_triplet
    assert found == function(embedding, instances, is_photo, experiment.own.margin, experiment.own.mining)
    assert found > 0
    assert function(embedding, labels, is_photo, experiment.own.margin) == 0  # one class has no negatives


def resolved(folder: Path, method: str, *more: str, split: str = "emoji-93-fine", **changes: str) -> Experiment:
    request = Request(method, "emoji", split, assignments=(*SMALL, *_without_teacher(method), *more))
    return resolve(replace(request, **changes), Resources(folder, folder, device="cpu"))


def _without_teacher(method: str) -> tuple[str, ...]:
    return ("weight_preservation=0", "weight_classification=0") if method == "ours" else ()


def _context(experiment: Experiment, folder: Path) -> object:
    from bench.methods.base import Context

    return Context(experiment.run, experiment.split.seen, folder)


def test_the_default_is_not_part_of_a_key(tmp_path: Path) -> None:
    plain = resolved(tmp_path, "triplet")
    same, other = (resolved(tmp_path, "triplet", f"positives={each}") for each in ("class", "instance"))
    assert plain.key == same.key != other.key
    assert "positives" not in plain.identity["configuration"]["method"]
    assert other.identity["configuration"]["method"]["positives"] == "instance"


def test_a_split_by_class_has_no_instances_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no instances"):
        resolved(tmp_path, "triplet", "positives=instance", split="emoji-93")


def test_one_class_is_trained_on_by_instance_alone(tmp_path: Path, store: Store, quiet: Quiet) -> None:
    plant_qmul(tmp_path / "ShoeV2", photos=4)
    for number, file in enumerate(sorted(tmp_path.rglob("*.png"))):
        file.write_bytes(picture(seed=number, size=(32, 32)))
    resources = Resources(tmp_path, tmp_path, device="cpu")
    request = Request("triplet", "shoev2", assignments=(*SMALL, "batch_size=8", "epochs=2"))
    found = run_and_store(resolve(request, resources), store, resources, quiet)
    assert found is not None
    run, _ = found
    assert run.relevance == "instance"
    assert run.value("acc@1") == run.value("acc@1")  # is stored
    with pytest.raises(UsageError, match="positives=instance"):
        resolve(replace(request, method="softmax"), resources)
