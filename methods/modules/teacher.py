"""The online teacher: the frozen ImageNet network that runs beside the student while it is trained.

It looks at every image of a batch, and its word on sketches is not used: so has it the published code of SAKE
(qliu24/SAKE, ``src/train_cse_resnet_tuberlin_ext.py``, ``train``: the teacher's pass over ``input_all``, the mask of
``SoftCrossEntropy``). Whoever compares what methods cost compares what their authors' code does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.methods.backbone.backbone import Backbone


class Teacher:
    """A frozen copy of a student's backbone, made before training, with its ImageNet classifier.

    It is no module: its weights are no parameters of the method, are neither trained nor kept in checkpoints, and cost
    nothing once training is over. ``name`` is timm's name of the network.
    """

    def __init__(self, student: Backbone, name: str) -> None:
        with torch.random.fork_rng(devices=[]):  # values drawn here are replaced by the student's
            self.network = Backbone(name, "none")
        self.network.load_state_dict(student.state_dict())
        device = next(student.parameters()).device
        self.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.requires_grad_(False).eval()

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """ImageNet logits: float32 [batch, 3, size, size] in 0..1 to [batch, 1000], without gradient."""
        return self.network.logits(images)
