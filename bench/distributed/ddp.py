"""The loss terms of a batch whose images are spread over several processes, and their gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bench.distributed.process_group import Processes
from bench.errors import UsageError
from bench.methods.base import Method
from bench.types import Batch


class WholeBatchLosses(nn.Module):
    """The loss terms of a batch whose images are spread over processes, as one module."""

    def __init__(self, method: Method, processes: Processes, rows: Sequence[int], compiled: bool) -> None:
        super().__init__()
        self.method = method
        self._processes, self._rows = processes, list(rows)
        self._outputs = torch.compile(method.outputs) if compiled else method.outputs

    def forward(
        self, images: Tensor, labels: Tensor, is_photo: Tensor, instances: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Terms by name, scalars: of own images [own, 3, size, size]; labels and the rest of the batch, [batch]."""
        outputs = self._outputs(Batch(images, labels[self._rows], is_photo[self._rows]))
        whole = {name: self._processes.gather_batch(value, self._rows, len(labels)) for name, value in outputs.items()}
        if instances is not None:
            whole["instance"] = instances
        return self.method.losses(whole, labels, is_photo)


def spread(
    losses: WholeBatchLosses, optimiser: torch.optim.Optimizer, processes: Processes, device: torch.device
) -> Callable[..., dict[str, Tensor]]:
    """The module with gradients that are summed over all processes; unchanged for one process.

    Raises UsageError for a network whose batch normalisation would see a part of the batch.
    """
    if processes.size == 1:
        return losses
    if any(isinstance(each, nn.modules.batchnorm._BatchNorm) and each.training for each in losses.modules()):
        raise UsageError(
            "Several processes cannot train batch normalisation, which would see a part of each batch only: "
            "use --set frozen_batchnorm=true, or one process."
        )
    trained = {id(each) for group in optimiser.param_groups for each in group["params"]}
    for parameter in losses.parameters():  # else DistributedDataParallel waits for gradients that are never used
        if id(parameter) not in trained:
            parameter.requires_grad_(False)
    # Gradients of 1x1 convolutions may lie in another order than their weights, which costs a copy.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    gpu = [device.index] if device.type == "cuda" else None
    # In unequal batches a process may have no sketch, and a batch no pair, so that a part of the method is not used.
    unused = not losses.method.context.run.usual_batches
    module = DistributedDataParallel(losses, device_ids=gpu, forward_sync_buffers=False, find_unused_parameters=unused)
    module.register_comm_hook(None, lambda state, bucket: _sum(bucket.buffer()))
    return module


def _sum(gradients: Tensor) -> torch.futures.Future[Tensor]:
    """Add the gradients of all processes up, where DistributedDataParallel would take their mean."""
    work: Any = dist.all_reduce(gradients, async_op=True)
    total: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return total
