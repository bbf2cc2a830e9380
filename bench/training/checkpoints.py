"""The state of a training that goes on where it stopped.

Every random draw of the loop is a function of the seed and the step: the generators are seeded anew before each step.
So the number of steps is the random state. With parameters, buffers and the optimiser's state it is the whole state:
resumed, a run ends bit for bit as one that was never stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.distributed.process_group import ALONE, Processes
from bench.errors import LoadingError
from bench.io import read_tensors, write_tensors

log = logging.getLogger("bench.training.loop")


@dataclass(frozen=True)
class Checkpoints:
    """Where the checkpoint of one run lies; ``key`` is the run's, and nothing else is ever loaded from it."""

    path: Path
    key: str

    def save(
        self,
        step: int,
        method: nn.Module,
        optimiser: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        history: Mapping[str, Any],
        extra: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Write the state after ``step`` steps; raises StorageError when the disk is full."""
        state = optimiser.state_dict()["state"]
        tensors = {f"method.{name}": tensor for name, tensor in method.state_dict().items()}
        tensors |= {f"optimiser.{i}.{name}": value for i, each in state.items() for name, value in each.items()}
        tensors |= {f"extra.{name}": tensor for name, tensor in (extra or {}).items()}
        facts = {"key": self.key, "step": step, "scaler": scaler.state_dict(), "history": dict(history)}
        write_tensors(self.path, tensors, facts)

    def restore(
        self,
        method: nn.Module,
        optimiser: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        processes: Processes = ALONE,
    ) -> tuple[int, dict[str, Any], dict[str, Tensor]]:
        """Put the saved state back: steps done, history and the extra tensors; (0, {}, {}) when there is none to use.

        A file that is cut off, altered or of another run is not used: the run then starts anew. Of several processes
        the leader reads it, and all have it. Raises LoadingError for a whole one that does not fit.
        """
        found = processes.tensors_told(self._read() if processes.leads else None)
        if found is None:
            return 0, {}, {}
        tensors, facts = found
        try:
            parts = _parts_of(tensors)
            load_exactly(method, parts["method"], self.path)
            parameters = [each for group in optimiser.param_groups for each in group["params"]]
            state: dict[int, dict[str, Any]] = {}
            for name, tensor in parts["optimiser"].items():
                index, _, field = name.partition(".")
                state.setdefault(int(index), {})[field] = _laid_out_like(tensor, parameters[int(index)])
            optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
            scaler.load_state_dict(facts["scaler"])
            return int(facts["step"]), dict(facts["history"]), parts["extra"]
        except (LookupError, ValueError, TypeError) as error:  # whole, and yet not what this program writes
            raise LoadingError(
                f"Checkpoint {self.path.name} was written by another version of bench: remove it, or use --no-resume."
            ) from error

    def seconds(self) -> float:
        """What the training took until the state was saved; 0 when there is none to use."""
        found = self._read()
        return float(found[1]["history"].get("seconds", 0.0)) if found is not None else 0.0

    def _read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        found = read_tensors(self.path)
        if found is not None and found[1].get("key") == self.key:
            return found
        if self.path.exists():
            log.warning("The checkpoint %s is damaged: the training starts anew.", self.path.name)
        return None

    def remove(self) -> None:
        """The run is done: its state is not needed any more."""
        self.path.unlink(missing_ok=True)


def _parts_of(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors by what they belong to; raises KeyError for what belongs to nothing."""
    parts: dict[str, dict[str, Tensor]] = {"method": {}, "optimiser": {}, "extra": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    return parts


def _laid_out_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """The tensor in the parameter's order of memory where it has its shape, as an optimiser makes it.

    A sum over another order of memory may round differently.
    """
    if tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype, device=tensor.device).copy_(tensor)


def load_exactly(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load a state in which every tensor has its place; raises LoadingError that names the first that has none."""
    own = module.state_dict()
    wrong = [name for name in own if name not in state or state[name].shape != own[name].shape]
    wrong += [name for name in state if name not in own]
    if wrong:
        raise LoadingError(f"Checkpoint {path.name} does not fit this network (first at {wrong[0]}): remove it.")
    module.load_state_dict(dict(state))
