"""Optimisers by name, for the setting ``optimiser``."""

from __future__ import annotations

from typing import Any

import torch

from bench.settings.run_settings import OPTIMISERS, RunSettings


@OPTIMISERS.register("adam")
def adam(groups: list[dict[str, Any]], run: RunSettings) -> torch.optim.Optimizer:
    """Adam with L2 regularisation. Source: Kingma and Ba, ICLR 2015."""
    return torch.optim.Adam(groups, lr=run.lr, weight_decay=run.weight_decay, fused=True)


@OPTIMISERS.register("adamw")
def adamw(groups: list[dict[str, Any]], run: RunSettings) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay. Source: Loshchilov and Hutter, ICLR 2019."""
    return torch.optim.AdamW(groups, lr=run.lr, weight_decay=run.weight_decay, fused=True)
