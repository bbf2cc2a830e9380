"""Proxy-anchor: one learned proxy a class, which pulls its images and pushes the others, the hard ones most.

Paper: Kim et al., "Proxy anchor loss for deep metric learning", CVPR 2020, equation 4. Implemented: the loss, on one
network for sketches and photos, with the learning rate of new layers for the proxies. Left out: the paper's rate for
proxies of a hundred times the network's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.methods.base import METHODS, Context
from bench.methods.modules import heads
from bench.methods.modules.single_network import NetworkSettings, SingleNetwork
from bench.settings.run_settings import setting


def proxy_anchor(embedding: Tensor, proxies: Tensor, labels: Tensor, margin: float, scale: float) -> Tensor:
    """The loss of a batch, a scalar.

    ``embedding`` [batch, dim] and ``proxies`` [classes, dim] of any length, ``labels`` int64 [batch] with at least one
    image; ``margin`` is a cosine, ``scale`` multiplies cosines.
    """
    cosines = F.normalize(embedding, dim=1) @ F.normalize(proxies, dim=1).T  # [batch, classes]
    own = F.one_hot(labels, len(proxies)).bool()
    nothing = torch.zeros(1, len(proxies), dtype=cosines.dtype, device=cosines.device)  # the 1 of log(1 + sum exp)
    pull = (-scale * (cosines - margin)).masked_fill(~own, -torch.inf)
    push = (scale * (cosines + margin)).masked_fill(own, -torch.inf)
    pulled = torch.cat([nothing, pull]).logsumexp(dim=0).sum() / own.any(dim=0).sum()  # proxies without image give 0
    return pulled + torch.cat([nothing, push]).logsumexp(dim=0).mean()


@dataclass(frozen=True)
class ProxyAnchorSettings(NetworkSettings):
    """Settings of proxy-anchor; margin and scale are the paper's."""

    margin: float = setting(0.1, "margin of the cosines")
    scale: float = setting(32.0, "multiplies the cosines", above=0)
    weight_proxies: float = 1.0


@METHODS.register("proxy-anchor")
class ProxyAnchor(SingleNetwork):
    """One network for both domains, trained by the proxy-anchor loss."""

    name = "proxy-anchor"
    summary = "Proxy-anchor loss (CVPR 2020), one proxy a seen class."
    terms = ("proxies",)
    version = 1
    Settings: ClassVar[type] = ProxyAnchorSettings

    def __init__(self, settings: ProxyAnchorSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.proxies = heads.prototypes(len(context.seen), settings.dim)

    def losses(self, outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        """The only term."""
        margin, scale = self.settings.margin, self.settings.scale
        return {"proxies": proxy_anchor(outputs["embedding"], self.proxies, labels, margin, scale)}
