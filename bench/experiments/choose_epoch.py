"""Score the network after each epoch, for rules that choose an epoch."""

from __future__ import annotations

import math

import numpy as np
import torch

from bench.datasets.images.loader import Images
from bench.embeddings.arrays import Embeddings
from bench.evaluation.metrics.base import main_metrics
from bench.evaluation.ranking import rank
from bench.experiments.experiment import Experiment, Resources
from bench.methods.base import Method
from bench.settings.selection_rules import selection
from bench.training.best_epoch import BestEpoch
from bench.training.embed import embed
from bench.types import by_modality

METRIC = "mAP@all:plain"


def selector_of(experiment: Experiment, resources: Resources, device: torch.device) -> BestEpoch | None:
    """The scorer of epochs for the experiment's selection rule.

    None if the rule is the last epoch, unless ``Resources.score_epochs``: then it scores the split's test classes.
    """
    split, rule, processes = experiment.split, selection(experiment.selection), resources.processes
    if rule.needs == "nothing" and not resources.score_epochs:
        return None
    sides, arrays = (split.queries, split.gallery), split.label_arrays()
    metric, role = main_metrics(split.relevance)[0], "test"
    if rule.needs == "validation classes":
        sides, metric, role = by_modality(split.validation), METRIC, "validation"
        labels = (np.array([split.held_out.index(item.class_name) for item in side], dtype=np.int64) for side in sides)
        arrays = dict(zip(("query_labels", "gallery_labels"), labels, strict=True))
    size, workers = experiment.run.image_size, resources.workers
    images = [Images(experiment.dataset, processes.part(side), size, workers=workers) for side in sides]

    def retrieval(method: Method) -> float:
        """The first metric of the split, the same on all ranks; on validation classes mAP@all."""
        sketches, photos = (
            embed(method, each, is_photo=photo, device=device, precision=experiment.precision, processes=processes)
            for photo, each in zip((False, True), images, strict=True)
        )
        if not (np.isfinite(sketches).all() and np.isfinite(photos).all()):
            return math.nan
        return rank(Embeddings(sketches, photos, **arrays), [metric]).score(metric).value

    return BestEpoch(rule, retrieval, f"{role}/{metric}")
