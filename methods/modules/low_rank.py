"""Low-rank weights beside the linear layers of a frozen vision transformer.

Source of the form: Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022. A layer's output gets
B A x, with B zero at first, so the network starts as the pre-trained one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bench.methods.modules.heads import seeded

LAYERS = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")  # of each block, by timm's names


class LowRank(nn.Module):
    """B A x of one linear layer, for each of its ``parts`` (query, key and value are three), shared or per domain."""

    def __init__(self, layer: nn.Linear, rank: int, *, parts: int, per_domain: bool) -> None:
        super().__init__()
        domains, bound = 1 + per_domain, 1 / math.sqrt(layer.in_features)
        self.down = nn.Parameter(torch.empty(domains, parts, rank, layer.in_features).uniform_(-bound, bound))
        self.up = nn.Parameter(torch.zeros(domains, parts, layer.out_features // parts, rank))

    def forward(self, tokens: Tensor, is_photo: Tensor) -> Tensor:
        """[batch, tokens, in] and bool [batch] to [batch, tokens, out]."""
        added = [
            torch.einsum("btpr,por->btpo", torch.einsum("bti,pri->btpr", tokens, down), up).flatten(2)
            for down, up in zip(self.down, self.up, strict=True)
        ]  # of both domains, or of one set of weights for both
        return added[0] if len(added) == 1 else torch.where(is_photo[:, None, None], added[1], added[0])


class LowRankLayers(nn.Module):
    """Low-rank weights in every block of a timm transformer; those of its last ``domain_blocks`` are per domain."""

    def __init__(self, network: Any, rank: int, domain_blocks: int) -> None:
        super().__init__()
        self.is_photo: Tensor | None = None  # bool [batch] during a forward pass
        self.added = nn.ModuleList()
        first = len(network.blocks) - domain_blocks
        with seeded("low rank"):
            for number, block in enumerate(network.blocks):
                for name in LAYERS:
                    layer, parts = block.get_submodule(name), 3 if name.endswith("qkv") else 1
                    self.added.append(LowRank(layer, rank, parts=parts, per_domain=number >= first))
                    layer.register_forward_hook(self._hook(self.added[-1]))

    def forward(self, backbone: nn.Module, images: Tensor, is_photo: Tensor) -> Tensor:
        """The pooled feature: [batch, 3, size, size] and bool [batch] to [batch, width]."""
        self.is_photo = is_photo
        try:
            feature: Tensor = backbone(images)
        finally:
            self.is_photo = None
        return feature

    def _hook(self, added: nn.Module) -> Any:
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output if self.is_photo is None else output + added(inputs[0], self.is_photo)

        return add
