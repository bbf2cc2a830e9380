"""Which epoch's network is kept: the rules of ``selection_rules`` carried out while a method is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bench.errors import IncompleteError
from bench.methods.base import Method
from bench.settings.selection_rules import Selection


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
