"""The base class and the registry of methods: networks, unweighted loss terms, and embeddings.

To add a method, put a file into this folder with a subclass of ``Method`` and ``@METHODS.register(name)``.
``tests/test_every_method.py`` tests every registered method.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
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
    """Run settings, names of the seen classes by label, and a cache folder."""

    run: RunSettings
    seen: tuple[str, ...]
    cache_dir: Path


@dataclass(frozen=True)
class TrainingPhotos:
    """The training photos without augmentation, for ``Method.prepare``.

    ``apply(function)`` applies a function to every photo: from float32 [batch, 3, size, size] in 0..1 on the device to
    [batch, ...]. It returns float32 [photos, ...] on the CPU; with several processes each computes its share.
    ``labels`` int64 [photos] and ``paths`` are in the same order; ``identity`` changes with content or size.
    ``broadcast`` sends rank 0's table (or None) to every process.
    """

    apply: Callable[[Callable[[Tensor], Tensor]], Tensor]
    labels: Tensor
    paths: tuple[str, ...]
    identity: str
    broadcast: Callable[[Tensor | None], Tensor | None] = field(default=lambda table: table)


@dataclass(frozen=True)
class NoSettings:
    """A method without settings of its own."""


class Method(nn.Module):
    """One method.

    ``terms``: its loss terms. The setting ``weight_<term>`` is the weight of each; a term of weight 0 is not computed.
    A method without terms is not trained. ``structural``: ablations that change how a term is computed, each with the
    settings that it changes. ``version``: increased when a change to the code changes results. ``files``: settings with
    the path of a file, whose hash is part of a run's key. ``recipe``: default run settings. ``recipes``: other settings
    by the name that ``--recipe`` takes. ``Settings``: a frozen dataclass of ``--set key=value``. ``uses_backbone``:
    whether it needs a pre-trained network. ``classifier_terms``: loss terms that need the network's ImageNet
    classifier.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    version: ClassVar[int] = 1
    terms: ClassVar[tuple[str, ...]] = ()
    structural: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    files: ClassVar[tuple[str, ...]] = ()
    recipe: ClassVar[Mapping[str, Any]] = {}
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    Settings: ClassVar[type] = NoSettings
    uses_backbone: ClassVar[bool] = True
    classifier_terms: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: Any, context: Context) -> None:
        super().__init__()
        self.settings = settings
        self.context = context

    @classmethod
    def check(cls, settings: Any, run: RunSettings, seen: Sequence[str]) -> None:
        """Raise BenchError for settings or names of seen classes that the method cannot use.

        It is called before anything is computed or downloaded.
        """

    @classmethod
    def default_terms(cls) -> tuple[str, ...]:
        """The loss terms that are computed by default, because their weight is not 0."""
        settings = cls.Settings()
        return tuple(term for term in cls.terms if getattr(settings, f"weight_{term}"))

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss term that is computed."""
        every = {term: float(getattr(self.settings, f"weight_{term}")) for term in self.terms}
        return {term: weight for term, weight in every.items() if weight != 0}

    @property
    def by_instance(self) -> bool:
        """Whether a positive is the photo that a sketch was drawn from (setting ``positives=instance``).

        Batches then hold such pairs, and ``losses`` finds their ``instance`` int64 [batch] among the outputs.
        """
        return getattr(self.settings, "positives", "class") == "instance"

    @property
    def collapsed_losses(self) -> Mapping[str, float]:
        """What each loss term with a margin is while all embeddings are equal; a run warns if it ends there.

        By default that of a term called ``triplet`` is the setting ``margin``.
        """
        margin = getattr(self.settings, "margin", None)
        return {} if margin is None or "triplet" not in self.weights else {"triplet": margin}

    def prepare(self, photos: TrainingPhotos) -> None:
        """Prepare training; the method is on its device."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimiser, each with ``params`` and ``lr``."""
        return []

    def optimiser(self, run: RunSettings) -> torch.optim.Optimizer:
        """The optimiser of the setting ``optimiser``, over ``parameter_groups``; a method may return another."""
        optimiser: torch.optim.Optimizer = OPTIMISERS.get(run.optimiser)(self.parameter_groups(), run)
        return optimiser

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """Compute from the images everything that the losses need: tensors by name, each [batch, ...].

        With several processes, ``batch`` is this process's part of the batch.
        """
        return {}

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """Unweighted loss of each term in ``weights``, a scalar, over the whole batch.

        Further scalars, such as a count of anchors, are not trained on: the training curves show them.
        ``outputs`` are those of all images of the batch, each [batch, ...]; ``labels`` int64 [batch] (positions in
        ``Context.seen``), ``is_photo`` bool [batch].
        """
        return {}

    @abstractmethod
    def embed(self, images: Tensor, is_photo: bool) -> Tensor | np.ndarray[Any, Any]:
        """Embeddings for ranking: float32 [batch, 3, size, size] in 0..1 to float32 [batch, width]."""


METHODS: Registry[type[Method]] = Registry("method", "bench.methods", "bench.methods", wrong=not_derived_from(Method))
