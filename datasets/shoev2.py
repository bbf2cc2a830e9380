"""QMUL ShoeV2: photos of shoes, each with several sketches."""

from __future__ import annotations

from bench.datasets.base import DATASETS
from bench.datasets.published.qmul import QmulDataset


@DATASETS.register("shoev2")
class ShoeV2(QmulDataset):
    """Layouts and counts: docs/fine-grained.md."""

    name = "shoev2"
    summary = "QMUL ShoeV2: photos of shoes with sketches of each; fine-grained, one class, not zero-shot."
    licence = "research use, see the dataset's site; the photos are those of shops"
    split_names = ("shoev2",)
    title = "ShoeV2"
    class_name = "shoe"
