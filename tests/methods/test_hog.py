"""Histograms of gradients: what they see, and what they cannot be asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.errors import UsageError
from bench.evaluation.ranking import rank
from bench.experiments.embed_split import Embedder
from bench.experiments.execute import build
from bench.experiments.experiment import Resources
from bench.experiments.resolve import resolve
from bench.methods.base import Method
from bench.settings.request import Request
from tests.conftest import Quiet

CPU = torch.device("cpu")


def made(resources: Resources, *assignments: str) -> Method:
    return build(
        resolve(Request("hog", "emoji", assignments=("image_size=64", *assignments)), resources), resources, CPU
    )


def stripes(horizontal: bool, colour: tuple[float, float, float] = (0, 0, 0)) -> torch.Tensor:
    """Stripes on white, 8 pixels wide: [1, 3, 64, 64]."""
    wave = (torch.arange(64) // 8 % 2).float()
    mask = (wave[:, None] if horizontal else wave[None, :]).expand(64, 64)
    return (1 - mask[None] * (1 - torch.tensor(colour)[:, None, None]))[None]


def test_an_edge_falls_into_the_bin_of_its_direction(resources: Resources) -> None:
    method = made(resources, "orientations=2", "block=1")
    lying, standing = (np.asarray(method.embed(stripes(way), True)).reshape(8, 8, 2) for way in (True, False))
    # Two bins of 90 degrees: every cell of one pattern falls into one, every cell of the other into the other.
    assert (lying.argmax(axis=2) == 1 - standing.argmax(axis=2)).all()
    assert len(np.unique(lying.argmax(axis=2))) == 1


def test_shape_counts_and_colour_does_not(resources: Resources) -> None:
    method = made(resources)
    black, red = (np.asarray(method.embed(stripes(True, colour), True)) for colour in ((0, 0, 0), (1, 0, 0)))
    assert black.shape == (1, 7 * 7 * 2 * 2 * 9)
    assert black.dtype == np.float32
    assert np.allclose(black, red, atol=1e-3)


def test_sides_that_cells_do_not_divide(resources: Resources) -> None:
    image = torch.rand(1, 3, 67, 67)
    method = made(resources)
    assert np.array_equal(method.embed(image, False), method.embed(image[:, :, :64, :64], False))


def test_shape_alone_finds_many_of_the_unseen_classes(resources: Resources, quiet: Quiet) -> None:
    """Chance is 0.012 there; a prototype had 0.42."""
    experiment = resolve(Request("hog", "emoji"), resources)
    method = build(experiment, resources, CPU)
    embeddings = Embedder(method, experiment, resources, CPU).embed_split(quiet)
    assert 0.40 < rank(embeddings, ("mAP@all:plain",)).score("mAP@all:plain").value < 0.46


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("cells=0", "Setting 'cells' is 0, but must be at least 1."),
        ("orientations=0", "Setting 'orientations' is 0, but must be at least 1."),
        ("cells=40", "Setting 'cells' is 40, too many for an image of 64 pixels"),
        ("block=9", r"Setting 'block' must be between 1 and 'cells' \(8\), not 9"),
    ],
)
def test_impossible_settings_are_refused(assignment: str, message: str, resources: Resources) -> None:
    with pytest.raises(UsageError, match=message):
        made(resources, assignment)
