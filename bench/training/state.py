"""The state of a training, and its checkpoint.

Every random draw of the loop depends on seed and step only, so a checkpoint needs no random state. A resumed training
ends with the same bits as an undisturbed one.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.distributed.process_group import ALONE, Processes
from bench.errors import IncompleteError, LoadingError
from bench.io import read_tensors, write_tensors
from bench.methods.base import Method
from bench.training.best_epoch import BestEpoch

log = logging.getLogger("bench.training.state")

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint file of the training with this key; a file with another key is not used."""

    path: Path
    key: str

    def write(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the file; raises StorageError if the disk is full."""
        write_tensors(self.path, tensors, {"key": self.key, **facts})

    def read(
        self, damaged: str = "The checkpoint %s is damaged: the training starts from the beginning."
    ) -> tuple[Tensors, dict[str, Any]] | None:
        """Tensors and facts of the file; None if it is absent, and with the warning ``damaged`` if it is unusable."""
        saved = read_tensors(self.path)
        if saved is not None and saved[1].get("key") == self.key:
            return saved
        if self.path.exists():
            log.warning(damaged, self.path.name)
        return None

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


class TrainingState:
    """Everything that changes during training, and its checkpoint (None: it is not saved).

    ``points`` are the training curves: at most about 100, each the mean of every term over the steps since the last.
    """

    def __init__(
        self,
        method: Method,
        optimiser: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        steps: int,
        steps_per_epoch: int,
        checkpoint: Checkpoint | None = None,
        selector: BestEpoch | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.method, self.optimiser, self.scaler = method, optimiser, scaler
        self.steps, self.steps_per_epoch = steps, steps_per_epoch
        self.checkpoint, self.selector, self.processes = checkpoint, selector, processes
        self.step = 0  # steps done
        self.points: list[dict[str, float]] = []
        self._since: list[dict[str, float]] = []
        self.earlier = 0.0  # seconds of training before the last interruption
        self._start = time.perf_counter()

    @property
    def epochs(self) -> int:
        """Epochs finished; the last one may be shorter than the others."""
        whole, more = divmod(self.step, self.steps_per_epoch)
        return whole + (self.step == self.steps and more > 0)

    def check_finite(self, terms: Mapping[str, Tensor]) -> dict[str, float]:
        """The terms of the next step as numbers; raises IncompleteError with epoch and term for NaN or infinity."""
        values = dict(zip(terms, torch.stack([each.detach().float() for each in terms.values()]).tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                raise IncompleteError(
                    f"Loss term {name!r} became {value} in epoch {1 + self.epochs} (step {self.step + 1}): lower "
                    "--lr or --set head_lr=..., or use --precision fp32."
                )
        return values

    def add(self, values: Mapping[str, float]) -> None:
        """Count a step, which had these terms."""
        self.step += 1
        self._since.append(dict(values))
        if self.step % max(1, math.ceil(self.steps / 100)) == 0:
            means = {name: sum(each[name] for each in self._since) / len(self._since) for name in values}
            self.points.append({"step": float(self.step), **means})
            self._since = []

    def save(self, *, every_rank: bool = False) -> None:
        """Write the checkpoint; raises StorageError if the disk is full.

        Rank 0 writes. ``every_rank`` is for a run that ends: rank 0 may be gone, and all ranks have the same state.
        """
        if self.checkpoint is None or not (self.processes.leads or every_rank):
            return
        tensors = {f"method.{name}": tensor for name, tensor in self.method.state_dict().items()}
        numbers: dict[str, Any] = {}
        for index, values in self.optimiser.state_dict()["state"].items():
            for name, value in values.items():
                (tensors if isinstance(value, Tensor) else numbers)[f"optimiser.{index}.{name}"] = value
        if self.selector is not None:
            tensors |= {f"extra.{name}": tensor for name, tensor in self.selector.tensors().items()}
        groups = [
            {name: value for name, value in group.items() if isinstance(value, int | float)}  # such as steps
            for group in self.optimiser.param_groups
        ]
        seconds = self.earlier + time.perf_counter() - self._start
        history = {"points": self.points, "since": self._since, "seconds": seconds}
        facts = {"step": self.step, "scaler": self.scaler.state_dict(), "history": history, "groups": groups}
        self.checkpoint.write(tensors, {"optimiser": numbers, **facts})

    def restore(self) -> None:
        """Continue from the checkpoint if there is one; rank 0 reads it for all.

        Raises LoadingError for an undamaged file that does not match.
        """
        if self.checkpoint is None:
            return
        saved = self.processes.broadcast_tensors(self.checkpoint.read() if self.processes.leads else None)
        if saved is None:
            return
        tensors, facts = saved
        try:
            parts: dict[str, dict[str, Any]] = {"method": {}, "optimiser": {}, "extra": {}}
            for name, value in {**tensors, **facts.get("optimiser", {})}.items():
                part, _, rest = name.partition(".")
                parts[part][rest] = value
            load_exactly(self.method, parts["method"], self.checkpoint.path)
            self._restore_optimiser(parts["optimiser"], facts.get("groups"))
            self.scaler.load_state_dict(facts["scaler"])
            history = facts["history"]
            self.points, self._since = list(history["points"]), list(history["since"])
            self.earlier = float(history["seconds"])
            if self.selector is not None:
                self.selector.restore(parts["extra"])
            self.step = int(facts["step"])
        except (LookupError, ValueError, TypeError) as error:  # undamaged, but not in the format of this version
            raise LoadingError(
                f"Checkpoint {self.checkpoint.path.name} was written by another version of bench: remove it, or use "
                "--no-resume."
            ) from error

    def _restore_optimiser(self, values: Mapping[str, Any], groups: list[dict[str, Any]] | None) -> None:
        parameters = [each for group in self.optimiser.param_groups for each in group["params"]]
        state: dict[int, dict[str, Any]] = {}
        for name, value in values.items():
            index, _, field = name.partition(".")
            if isinstance(value, Tensor):
                value = _with_layout_of(value, parameters[int(index)])
            state.setdefault(int(index), {})[field] = value
        current = self.optimiser.state_dict()["param_groups"]
        groups = groups or [{} for _ in current]  # checkpoints of version 0.1.0 have none
        merged = [{**group, **saved} for group, saved in zip(current, groups, strict=True)]
        self.optimiser.load_state_dict({"state": state, "param_groups": merged})


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state into a module; raises LoadingError with the first name or shape that does not match."""
    own = module.state_dict()
    wrong = [name for name in own if name not in state or state[name].shape != own[name].shape]
    wrong += [name for name in state if name not in own]
    if wrong:
        raise LoadingError(f"Checkpoint {path.name} does not fit this network (first at {wrong[0]}): remove it.")
    module.load_state_dict(dict(state))


def _with_layout_of(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The tensor in the parameter's memory format if it has its shape: the order of sums changes rounding."""
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype, device=tensor.device).copy_(tensor)
