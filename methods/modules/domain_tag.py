"""A network with the domain as an input: SAKE's conditional squeeze-and-excitation.

Source: Liu et al., "Semantic-aware knowledge preservation for zero-shot sketch-based image retrieval", ICCV 2019. A
squeeze-and-excitation module scales channels by a two-layer network of their means. The domain tag (sketch 0, photo 1)
is one more input of the second layer, with a weight that is zero at first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from bench.methods.backbone.backbone import Backbone
from bench.methods.modules.heads import seeded

SECOND_LAYER = {"SEModule": "fc2", "SqueezeExcite": "conv_expand"}  # of timm's squeeze-and-excitation modules by class
REDUCTION = 16


class DomainTag(nn.Module):
    """Adds the domain tag to a backbone.

    In every trained squeeze-and-excitation module, a learned column is added to the second layer's output for photos.
    This equals a tag in its input. A backbone without such modules gets one conditional gate on its pooled feature.
    Column and gate have no effect at first, so the network starts as the pre-trained one.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.tag: Tensor | None = None  # float [batch] during a forward pass
        layers = _second_layers(backbone)
        self.columns = nn.ParameterList([nn.Parameter(torch.zeros(each.out_channels)) for each in layers])
        self.handles = [self._add_hook(layer, column) for layer, column in zip(layers, self.columns, strict=True)]
        if not layers:
            self.gate = Gate(backbone.width)

    def forward(self, backbone: Backbone, images: Tensor, is_photo: Tensor) -> Tensor:
        """The pooled feature: [batch, 3, size, size] and bool [batch] to [batch, width]."""
        tag = is_photo.float()
        if not self.handles:
            gated: Tensor = self.gate(backbone(images), tag)
            return gated
        self.tag = tag
        try:
            feature: Tensor = backbone(images)
        finally:
            self.tag = None
        return feature

    def _add_hook(self, layer: nn.Conv2d, column: nn.Parameter) -> RemovableHandle:
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if self.tag is None:
                return output
            return output + self.tag.to(output)[:, None, None, None] * column.to(output)[None, :, None, None]

        return layer.register_forward_hook(add)


class Gate(nn.Module):
    """Conditional squeeze-and-excitation of a pooled feature [batch, width]; multiplies by one at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        with seeded("gate"):
            self.squeeze = nn.Linear(width, max(1, width // REDUCTION))
        self.excite = nn.Linear(self.squeeze.out_features + 1, width)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    def forward(self, feature: Tensor, tag: Tensor) -> Tensor:
        """[batch, width] and float [batch] to [batch, width]."""
        hidden = torch.cat([F.relu(self.squeeze(feature)), tag.to(feature)[:, None]], dim=1)
        return feature * 2 * torch.sigmoid(self.excite(hidden))


def _second_layers(backbone: Backbone) -> list[nn.Conv2d]:
    layers = [
        getattr(module, SECOND_LAYER[type(module).__name__], None)
        for module in backbone.modules()
        if type(module).__name__ in SECOND_LAYER
    ]
    return [each for each in layers if isinstance(each, nn.Conv2d) and each.weight.requires_grad]
