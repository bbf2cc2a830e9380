"""What sits on top of a backbone: new layers, and how they get their first values."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from bench.methods.backbone.backbone import Backbone
from bench.settings.run_settings import RunSettings

IMAGENET_CLASSES = 1000


@contextmanager
def draws_of(name: str) -> Iterator[None]:
    """Random draws that depend on the run's seed and on ``name`` alone, and leave the draws around them as they are.

    A head that is built in here can be left out, and every other layer starts from the same values as before: cells of
    an ablation differ in their loss terms only. The run's seed is torch's, which the engine sets.
    """
    seed = zlib.crc32(f"{torch.initial_seed()} {name}".encode())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def prototypes(classes: int, dim: int) -> nn.Parameter:
    """One prototype a class for the normalised softmax: [classes, dim], of length about 1."""
    with draws_of("classification"):
        return nn.Parameter(torch.randn(classes, dim) / math.sqrt(dim))


def class_head(dim: int, classes: int) -> nn.Linear:
    """Logits of the seen classes from an embedding: [batch, dim] to [batch, classes]."""
    with draws_of("classification"):
        return nn.Linear(dim, classes)


def semantic_head(dim: int) -> nn.Linear:
    """ImageNet logits from an embedding: [batch, dim] to [batch, 1000]."""
    with draws_of("preservation"):
        return nn.Linear(dim, IMAGENET_CLASSES)


def parameter_groups(method: nn.Module, backbone: Backbone, run: RunSettings) -> list[dict[str, Any]]:
    """Groups for the optimiser: the backbone at its learning rate, everything new at the heads'."""
    old = {id(each) for each in backbone.parameters()}
    new = [each for each in method.parameters() if id(each) not in old]
    return [{"params": backbone.trainable(), "lr": run.lr}, {"params": new, "lr": run.head_lr}]
