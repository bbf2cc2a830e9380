"""The online teacher: the frozen ImageNet network that runs beside the student in training.

It computes logits of every image of a batch, although those of sketches are not used. This is what SAKE's published
code does (qliu24/SAKE, ``src/train_cse_resnet_tuberlin_ext.py``, ``train``: the teacher's pass over ``input_all``, the
mask of ``SoftCrossEntropy``), so that costs compare.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.methods.backbone.backbone import Backbone


class Teacher:
    """A frozen copy of the student's backbone before training, with its ImageNet classifier.

    It is not an ``nn.Module``, so its weights are no parameters of the method and not in checkpoints. ``name`` is
    timm's name of the network.
    """

    def __init__(self, student: Backbone, name: str) -> None:
        with torch.random.fork_rng(devices=[]):  # the student's weights replace the random ones
            self.network = Backbone(name, "none")
        self.network.load_state_dict(student.state_dict())
        device = next(student.parameters()).device
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.requires_grad_(False).eval()

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """ImageNet logits: float32 [batch, 3, size, size] in 0..1 to [batch, 1000], without gradient."""
        return self.network.logits(images)
