"""QMUL ChairV2: photos of chairs, each with several sketches."""

from __future__ import annotations

from bench.datasets.base import DATASETS
from bench.datasets.published.qmul import QmulDataset


@DATASETS.register("chairv2")
class ChairV2(QmulDataset):
    """Layouts and counts: docs/fine-grained.md."""

    name = "chairv2"
    summary = "QMUL ChairV2: photos of chairs with sketches of each; fine-grained, one class, not zero-shot."
    licence = "research use, see the dataset's site; the photos are those of shops"
    split_names = ("chairv2",)
    title = "ChairV2"
    class_name = "chair"
