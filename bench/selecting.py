"""Which epoch's network is kept: the rules of ``bench/selection.py`` carried out while a method is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bench.distributed import Processes
from bench.embedding import embed
from bench.errors import IncompleteError
from bench.ranking import rank
from bench.selection import Selection, selection
from bench.types import Item
from bench.vectors import Embeddings
from datasets.images import Images
from methods.base import Method

if TYPE_CHECKING:
    from bench.experiment import Experiment, Resources

METRIC = "mAP@all:plain"


class BestEpoch:
    """Keeps the state of the epoch that a rule chooses."""

    def __init__(self, rule: Selection, score: Callable[[Method], float]) -> None:
        self._rule, self._score = rule, score
        self._scores: list[float] = []
        self._best: dict[str, Tensor] = {}

    def after_epoch(self, method: Method) -> None:
        """Score the method as it is now and keep its state when it is the best so far."""
        method.eval()
        value = self._score(method)
        method.train()
        if math.isnan(value):
            raise IncompleteError(
                f"The network of epoch {len(self._scores) + 1} cannot be judged: its embeddings hold NaN or infinity, "
                "or no validation sketch has a photo of its class; lower --lr, or use --select last."
            )
        self._scores.append(value)
        if self._rule.choose(self._scores) == len(self._scores) - 1:
            self._best = {name: tensor.detach().clone() for name, tensor in method.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """The scores so far and the best state."""
        kept = {f"best.{name}": tensor for name, tensor in self._best.items()}
        return {"scores": torch.tensor(self._scores, dtype=torch.float64), **kept}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Remember what ``tensors`` gave."""
        self._scores = tensors["scores"].tolist()
        self._best = {name.removeprefix("best."): t for name, t in tensors.items() if name.startswith("best.")}

    def put_back(self, method: Method) -> None:
        """Give the method the best state."""
        method.load_state_dict(self._best)


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
