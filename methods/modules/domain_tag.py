"""One network that is told the domain: SAKE's conditional squeeze-and-excitation.

Source: Liu et al., "Semantic-aware knowledge preservation for zero-shot sketch-based image retrieval", ICCV 2019. A
squeeze-and-excitation module weighs channels by a two-layer network of the image's channel means; there the domain tag
(sketch 0, photo 1) joins the input of the second layer, with a weight that starts at zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from bench.methods.backbone.backbone import Backbone
from bench.methods.modules.heads import draws_of

SECOND_LAYER = {"SEModule": "fc2", "SqueezeExcite": "conv_expand"}  # of timm's squeeze-and-excitation modules by class
REDUCTION = 16


class DomainTag(nn.Module):
    """Gives the domain tag to a backbone.

    Where the backbone has squeeze-and-excitation modules the tag enters every one that training may change: a learned
    column, zero at first, is added to the second layer's output for photos, which is what a tag joined to its input
    does. Any other backbone gets one conditional gate on its pooled feature, which is one at first. Either way the
    network starts as the pre-trained one.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.tag: Tensor | None = None  # float [batch] while an image passes, else none
        layers = _second_layers(backbone)
        self.columns = nn.ParameterList([nn.Parameter(torch.zeros(each.out_channels)) for each in layers])
        self.handles = [self._tell(layer, column) for layer, column in zip(layers, self.columns, strict=True)]
        if not layers:
            self.gate = Gate(backbone.width)

    def forward(self, backbone: Backbone, images: Tensor, is_photo: Tensor) -> Tensor:
        """The pooled feature of images whose domain is known: [batch, 3, size, size], bool [batch]; [batch, width]."""
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

    def _tell(self, layer: nn.Conv2d, column: nn.Parameter) -> RemovableHandle:
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if self.tag is None:
                return output
            return output + self.tag.to(output)[:, None, None, None] * column.to(output)[None, :, None, None]

        return layer.register_forward_hook(add)


class Gate(nn.Module):
    """Conditional squeeze-and-excitation of a pooled feature [batch, width]; multiplies by one until it has learned."""

    def __init__(self, width: int) -> None:
        super().__init__()
        with draws_of("gate"):
            self.squeeze = nn.Linear(width, max(1, width // REDUCTION))
        self.excite = nn.Linear(self.squeeze.out_features + 1, width)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    def forward(self, feature: Tensor, tag: Tensor) -> Tensor:
        """[batch, width] and float [batch] to [batch, width]."""
        hidden = torch.cat([F.relu(self.squeeze(feature)), tag.to(feature)[:, None]], dim=1)
        return feature * 2 * torch.sigmoid(self.excite(hidden))


def _second_layers(backbone: Backbone) -> list[nn.Conv2d]:
    found = [
        getattr(module, SECOND_LAYER[type(module).__name__], None)
        for module in backbone.modules()
        if type(module).__name__ in SECOND_LAYER
    ]
    return [each for each in found if isinstance(each, nn.Conv2d) and each.weight.requires_grad]
