"""SAKE's parts against the formulas of its paper: first values, what the teacher says, what is off."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench.datasets.images.samplers import batch_by_domain
from bench.errors import DataError, UsageError
from bench.experiments.execute import build
from bench.experiments.experiment import Resources
from bench.experiments.resolve import resolve
from bench.methods.base import METHODS, Method, TrainingPhotos
from bench.methods.sake import initialise_from_classifier
from bench.settings.request import Request
from bench.settings.run_settings import RunSettings, with_recipe
from bench.types import Batch

NOTHING = TrainingPhotos(lambda function: torch.empty(0, 1000), torch.empty(0, dtype=torch.int64), (), "none")


def made(resources: Resources, *assignments: str, name: str = "sake", without: tuple[str, ...] = ()) -> Method:
    """The method for 32-pixel images of `emoji`, prepared."""
    request = Request(name, "emoji", without=without, assignments=("image_size=32", *assignments))
    method = build(resolve(request, resources), resources, torch.device("cpu"))
    method.prepare(NOTHING)
    return method


def a_batch() -> Batch:
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([False] * 3 + [True] * 3))


@pytest.mark.parametrize("dim", [4, 7, 30])
def test_projection_and_head_are_the_classifier_at_their_rank(dim: int) -> None:
    torch.manual_seed(0)
    classifier, projection, head = nn.Linear(12, 7), nn.Linear(12, dim), nn.Linear(dim, 7)
    initialise_from_classifier(classifier, projection, head)
    product = head.weight @ projection.weight
    left, values, right = torch.linalg.svd(classifier.weight)
    best = left[:, :dim] * values[:dim] @ right[: min(dim, 7)]
    assert torch.allclose(product, best, atol=1e-5)
    feature = torch.rand(3, 12)
    if dim >= 7:
        assert torch.allclose(head(projection(feature)), classifier(feature), atol=1e-5)


def test_a_classifier_that_is_not_linear_cannot_be_started_from() -> None:
    with pytest.raises(
        UsageError, match="no linear ImageNet classifier to start from: use --set initialisation=random"
    ):
        initialise_from_classifier(nn.Identity(), nn.Linear(3, 2), None)


def test_the_student_starts_as_its_teacher(resources: Resources) -> None:
    """With an embedding as wide as the classifier's rank the semantic head says what the teacher says."""
    method, batch = made(resources, "dim=1000", "initialisation=svd").eval(), a_batch()
    with torch.no_grad():
        student = method.semantic_head(method.project(batch.images, batch.is_photo))
    assert torch.allclose(student, method.teacher.logits(batch.images), atol=1e-3)


def test_without_wordnet_the_teacher_is_unchanged_and_a_note_is_logged(
    resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="bench"):
        method, batch = made(resources), a_batch()
    assert "no WordNet table" in caplog.text
    teacher = method.teacher.logits(batch.images[3:])
    assert torch.allclose(method.outputs(batch)["teacher"][3:], torch.softmax(teacher, dim=1))


def test_the_wordnet_table_is_added_to_the_teachers_logits(
    resources: Resources, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = resolve(Request("sake", "emoji"), resources).split.seen
    table = np.random.default_rng(0).choice([0, 0.25, 1 / 3, 1], (len(seen), 1000))
    np.savez(tmp_path / "wordnet.npz", table=table[::-1], classes=np.array(seen[::-1]))
    with caplog.at_level(logging.INFO, logger="bench"):
        method, batch = made(resources, f"wordnet={tmp_path / 'wordnet.npz'}"), a_batch()
    assert caplog.text == ""
    teacher = method.teacher.logits(batch.images[3:])
    expected = torch.softmax(teacher + 0.3 * torch.from_numpy(table[[0, 1, 2]]).float(), dim=1)
    assert torch.allclose(method.outputs(batch)["teacher"][3:], expected, atol=1e-6)
    assert "wordnet" not in method.state_dict()


def test_a_wordnet_table_of_another_split_is_refused(resources: Resources, tmp_path: Path) -> None:
    np.save(tmp_path / "wordnet.npy", np.zeros((104, 1000)))
    with pytest.raises(DataError, match="is 104x1000: give it one row for each of the 313 seen classes"):
        made(resources, f"wordnet={tmp_path / 'wordnet.npy'}")


def test_sketches_have_no_target(resources: Resources) -> None:
    method, batch = made(resources).eval(), a_batch()
    whole = losses(method, batch)
    images = batch.images.clone()
    images[:3] = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(9))
    other = losses(method, Batch(images, batch.labels, batch.is_photo))
    assert torch.allclose(whole["preservation"], other["preservation"])
    assert not torch.allclose(whole["classification"], other["classification"])


def test_the_contrastive_loss_is_sakes_only_addition(resources: Resources) -> None:
    batch = a_batch()
    alone = losses(made(resources).eval(), batch)
    more = losses(made(resources, name="supcon").eval(), batch)
    assert set(more) == {*alone, "contrastive"}
    assert all(torch.equal(alone[term], more[term]) for term in alone)


def losses(method: Method, batch: Batch) -> dict[str, torch.Tensor]:
    return method.losses(method.outputs(batch), batch.labels, batch.is_photo)


@pytest.mark.parametrize(
    ("method", "recipe", "sketches", "photos"),
    [
        ("sake", "paper", 4, 36),
        ("sake", "paper-sketchy", 13, 26),
        ("supcon", "paper", 9, 81),
        ("supcon", "paper-sketchy", 32, 64),
    ],
)
def test_recipes_draw_the_batches_of_the_published_code(method: str, recipe: str, sketches: int, photos: int) -> None:
    run = with_recipe(RunSettings(), METHODS.get(method).recipes[recipe])
    assert batch_by_domain(run, classes=220) == (sketches, photos)
