"""Score the network after each epoch, for a rule that chooses one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from bench.datasets.images.loader import Images
from bench.distributed.process_group import Processes
from bench.embeddings.arrays import Embeddings
from bench.evaluation.ranking import rank
from bench.experiments.experiment import Experiment, Resources
from bench.methods.base import Method
from bench.settings.selection_rules import selection
from bench.training.best_epoch import BestEpoch
from bench.training.embed import embed
from bench.types import Item

METRIC = "mAP@all:plain"


def selector_of(experiment: Experiment, resources: Resources, device: torch.device) -> BestEpoch | None:
    """What carries out the experiment's selection rule; None when the last epoch is kept."""
    split = experiment.split
    rule = selection(experiment.selection)
    if rule.needs == "nothing":
        return None
    if rule.needs == "validation classes":
        sketches = [item for item in split.validation if item.modality == "sketch"]
        photos = [item for item in split.validation if item.modality == "photo"]
    else:
        sketches, photos = list(split.queries), list(split.gallery)
    processes = resources.processes
    sides = [
        (items, Images(experiment.dataset, processes.part(items), experiment.run.image_size, workers=resources.workers))
        for items in (sketches, photos)
    ]
    return BestEpoch(rule, lambda method: _retrieval(method, sides, experiment.precision, device, processes))


def _retrieval(
    method: Method,
    sides: Sequence[tuple[Sequence[Item], Images]],
    precision: str,
    device: torch.device,
    processes: Processes,
) -> float:
    """mAP@all of ranking the second side's photos for the first side's sketches, the same on all processes.

    A side is its items, and the images of those that this process embeds.
    """
    names = {
        name: label for label, name in enumerate(sorted({item.class_name for items, _ in sides for item in items}))
    }
    vectors, labels = [], []
    for is_photo, (items, images) in enumerate(sides):
        vectors.append(
            embed(
                method,
                images,
                is_photo=bool(is_photo),
                device=device,
                precision=precision,
                progress=lambda *_: None,
                processes=processes,
            )
        )
        labels.append(torch.tensor([names[item.class_name] for item in items]).numpy())
        if not np.isfinite(vectors[-1]).all():
            return math.nan
    return rank(Embeddings(vectors[0], vectors[1], labels[0], labels[1]), [METRIC]).score(METRIC).value
