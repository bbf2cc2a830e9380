"""New layers on top of a backbone, and their initial weights."""

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
def seeded(name: str) -> Iterator[None]:
    """Within the block, torch's generator is seeded by the run's seed and ``name``; after it, it is as before.

    A head that is built in the block can be left out without changing the initial weights of other layers, so runs of
    an ablation differ in their loss terms only. The engine has set torch's seed to the run's.
    """
    seed = zlib.crc32(f"{torch.initial_seed()} {name}".encode())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def prototypes(classes: int, dim: int) -> nn.Parameter:
    """One prototype per class for the normalised softmax: [classes, dim], with norms of about 1."""
    with seeded("classification"):
        return nn.Parameter(torch.randn(classes, dim) / math.sqrt(dim))


def class_head(dim: int, classes: int) -> nn.Linear:
    """Logits of the seen classes from an embedding: [batch, dim] to [batch, classes]."""
    with seeded("classification"):
        return nn.Linear(dim, classes)


def semantic_head(dim: int) -> nn.Linear:
    """ImageNet logits from an embedding: [batch, dim] to [batch, 1000]."""
    with seeded("preservation"):
        return nn.Linear(dim, IMAGENET_CLASSES)


def parameter_groups(method: nn.Module, backbone: Backbone, run: RunSettings) -> list[dict[str, Any]]:
    """Parameter groups: the backbone with its learning rate, all new layers with that of heads."""
    old = {id(each) for each in backbone.parameters()}
    new = [each for each in method.parameters() if id(each) not in old]
    return [{"params": backbone.trainable(), "lr": run.lr}, {"params": new, "lr": run.head_lr}]
