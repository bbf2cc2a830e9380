"""What a method is: networks, unweighted loss terms, and embeddings. The engine owns the rest.

To add one, put a file into this folder that subclasses ``Method`` and registers it with ``@METHODS.register(name)``;
nothing else is edited, and ``tests/test_every_method.py`` trains it because it is registered.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bench.registry import Registry, not_derived_from
from bench.settings.run_settings import OPTIMISERS, RunSettings
from bench.types import Batch


@dataclass(frozen=True)
class Context:
    """What a method is told when it is built.

    ``seen`` names the seen classes (position = label), ``cache_dir`` is a folder for what can be computed again.
    """

    run: RunSettings
    seen: tuple[str, ...]
    cache_dir: Path


@dataclass(frozen=True)
class TrainingPhotos:
    """The training photos without augmentation, for what is prepared before training.

    ``through(function)`` gives what a function says of every photo: float32 [photos, ...] on the CPU, from a function
    of float32 [batch, 3, size, size] in 0..1 on the device to [batch, ...]; where several processes train, each looks
    at its share. ``labels`` int64 [photos] and ``paths`` are in the same order; ``identity`` pins content and size.
    ``broadcast`` gives every process the table that rank 0 read (from a cache, say), or None.
    """

    through: Callable[[Callable[[Tensor], Tensor]], Tensor]
    labels: Tensor
    paths: tuple[str, ...]
    identity: str
    broadcast: Callable[[Tensor | None], Tensor | None] = field(default=lambda table: table)


@dataclass(frozen=True)
class NoSettings:
    """A method without settings of its own."""


class Method(nn.Module):
    """One method.

    ``terms`` names its loss terms; the setting ``weight_<term>`` holds the weight of each, and a term of weight 0 is
    not computed. A method without terms is not trained. ``structural`` names ablations that change how a term is
    computed, each with the settings that it changes. ``version`` counts up when a change to the code changes results.
    ``files`` names settings that hold the path of a file: in a run's key stands the hash of what is in it.
    ``Settings`` is a frozen dataclass of what ``--set key=value`` can change. ``uses_backbone`` says whether there is a
    pre-trained network in it, whose weights must be at hand before a run is entered; ``taught`` names those of its
    terms that learn from that network's ImageNet classifier.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    version: ClassVar[int] = 1
    terms: ClassVar[tuple[str, ...]] = ()
    structural: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    files: ClassVar[tuple[str, ...]] = ()
    recipe: ClassVar[Mapping[str, Any]] = {}
    Settings: ClassVar[type] = NoSettings
    uses_backbone: ClassVar[bool] = True
    taught: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__()
        self.settings = settings
        self.context = context

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss term that is computed."""
        every = {term: float(getattr(self.settings, f"weight_{term}")) for term in self.terms}
        return {term: weight for term, weight in every.items() if weight != 0}

    def prepare(self, photos: TrainingPhotos) -> None:
        """Compute, before training, what training needs; the method is on its device by then."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser, each with ``params`` and its own ``lr``."""
        return []

    def optimiser(self, run: RunSettings) -> torch.optim.Optimizer:
        """The optimiser that the setting ``optimiser`` names, over ``parameter_groups``; a method may bring another."""
        optimiser: torch.optim.Optimizer = OPTIMISERS.get(run.optimiser)(self.parameter_groups(), run)
        return optimiser

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """What the losses need of each image, each [batch, ...]: everything that looks at images.

        Where several processes train, ``batch`` is this one's part of the batch.
        """
        return {}

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """Unweighted loss of each term in ``weights``, scalars, of a whole batch.

        ``outputs`` are those of every image of the batch, each [batch, ...]; ``labels`` int64 [batch] (positions in
        ``Context.seen``), ``is_photo`` bool [batch].
        """
        return {}

    @abstractmethod
    def embed(self, images: Tensor, is_photo: bool) -> Tensor | np.ndarray[Any, Any]:
        """Embeddings to rank by: float32 [batch, 3, size, size] in 0..1 to float32 [batch, width]."""


METHODS: Registry[type[Method]] = Registry("method", "bench.methods", "bench.methods", wrong=not_derived_from(Method))
