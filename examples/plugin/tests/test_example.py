"""Tests of the plug-in with values computed by hand."""

from __future__ import annotations

import io
import math
from pathlib import Path

import pytest
import torch
from bench_example.every_class import EVERY_CLASS
from bench_example.mrr import mrr_all
from bench_example.proxy_anchor import proxy_anchor
from bench_example.shapes import PHOTOS, SEEN, SHAPES, SIDE, SKETCHES, UNSEEN
from bench_example.tsv import write
from PIL import Image

from bench.datasets.base import DATASETS
from bench.errors import DataError
from bench.evaluation.metrics.base import METRICS, parse_metric
from bench.evaluation.protocols.base import PROTOCOLS
from bench.reports.base import Report, Section, Table

HERE = Path()


def test_the_loss_of_two_images_and_three_proxies() -> None:
    """Cosines are 1, 0 and 0.6, 0.8; the third proxy has no image of its own."""
    embedding = torch.tensor([[2.0, 0.0], [0.6, 0.8]])
    proxies = torch.tensor([[1.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    found = proxy_anchor(embedding, proxies, torch.tensor([0, 1]), margin=0.1, scale=2.0)
    pull = math.log(1 + math.exp(-2 * (1 - 0.1))) + math.log(1 + math.exp(-2 * (0.8 - 0.1)))
    push = (
        math.log(1 + math.exp(2 * (0.6 + 0.1)))
        + math.log(1 + math.exp(2 * (0.0 + 0.1)))
        + math.log(1 + math.exp(2 * (-1 + 0.1)) + math.exp(2 * (-0.6 + 0.1)))
    )
    assert float(found) == pytest.approx(pull / 2 + push / 3, rel=1e-6)


def test_the_dataset_is_split_and_drawn_alike_each_time() -> None:
    shapes = DATASETS.get("shapes")
    split = shapes(HERE).split()
    assert (len(split.train), len(split.queries), len(split.gallery)) == (
        len(SEEN) * (SKETCHES + PHOTOS),
        len(UNSEEN) * SKETCHES,
        len(UNSEEN) * PHOTOS,
    )
    pictures = [shapes(HERE).read(item.path) for item in split.queries]
    assert len(set(pictures)) == len(split.queries)
    assert pictures == [shapes(HERE).read(item.path) for item in split.queries]
    sketch, photo = (Image.open(io.BytesIO(shapes(HERE).read(f"{m}/pentagon/0.png"))) for m in ("sketch", "photo"))
    assert sketch.size == photo.size == (SIDE, SIDE)
    assert sketch.getpixel((0, 0)) == (255, 255, 255) != photo.getpixel((0, 0))
    assert len(SHAPES) == 12


def test_an_image_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"Dataset 'shapes' has no image sketch/pentagon/99\.png"):
        DATASETS.get("shapes")(HERE).read("sketch/pentagon/99.png")


def test_the_protocol_is_known_by_its_name() -> None:
    assert PROTOCOLS.get("every-class") is EVERY_CLASS


def test_the_metric_is_known_by_its_id() -> None:
    assert METRICS.get(parse_metric("MRR@all@classes").definition) is mrr_all
    assert mrr_all([4, 9]) == 1 / 4


def test_the_format_has_a_title_a_head_and_rows() -> None:
    report = Report((Section("main", (Table("T", ("a", "b"), (("1", "**2**"),)),)),))
    assert write(report) == "# T\na\tb\n1\t2\n"
