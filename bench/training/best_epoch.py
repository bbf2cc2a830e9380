"""Score the network after each epoch, and keep the epoch that a selection rule chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bench.errors import IncompleteError
from bench.methods.base import Method
from bench.settings.selection_rules import Selection


class BestEpoch:
    """Keeps the parameters and buffers of the epoch that ``rule`` chooses by ``score``; ``figure`` names the score."""

    def __init__(self, rule: Selection, score: Callable[[Method], float], figure: str = "validation") -> None:
        self._rule, self._score, self.figure = rule, score, figure
        # One assignment replaces both, so that a signal cannot leave half of them.
        self._memory: tuple[list[float], dict[str, Tensor]] = [], {}

    @property
    def epochs(self) -> int:
        """Number of epochs that were scored."""
        return len(self._memory[0])

    @property
    def chosen(self) -> int:
        """The epoch whose state is kept, from 1."""
        return self._rule.choose(self._memory[0]) + 1

    def after_epoch(self, method: Method) -> float:
        """Score the method, and keep its state if the rule chooses it; returns the score."""
        method.eval()
        value = self._score(method)
        method.train()
        if math.isnan(value):
            raise IncompleteError(
                f"The network of epoch {self.epochs + 1} has no score: its embeddings hold NaN or infinity, or no "
                "validation sketch has a photo of its class; lower --lr, or use --select last."
            )
        scores, best = [*self._memory[0], value], self._memory[1]
        if self._rule.choose(scores) == len(scores) - 1:
            best = {name: tensor.detach().clone() for name, tensor in method.state_dict().items()}
        self._memory = scores, best
        return value

    def tensors(self) -> dict[str, Tensor]:
        """The scores so far and the best state, for a checkpoint."""
        scores, best = self._memory
        return {
            "scores": torch.tensor(scores, dtype=torch.float64),
            **{f"best.{name}": tensor for name, tensor in best.items()},
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what ``tensors`` returned."""
        best = {name.removeprefix("best."): tensor for name, tensor in tensors.items() if name.startswith("best.")}
        self._memory = tensors["scores"].tolist(), best

    def restore_best(self, method: Method) -> None:
        """Load the best state into the method."""
        method.load_state_dict(self._memory[1])
