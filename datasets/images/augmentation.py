"""Random flips, small affine maps and greyscale, applied to a whole batch on its device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


@dataclass(frozen=True)
class Augmentation:
    """Limits of the augmentation: rotation in degrees to either side, relative scale, shift as a fraction of the side.

    ``grayscale`` is the probability that an image is converted to grey.
    """

    rotation: float = 20.0
    scale: float = 0.2
    shift: float = 0.1
    mirror: bool = True
    grayscale: float = 0.0

    def __call__(
        self, images: Tensor, generator: Generator, rows: Sequence[int] | None = None, batch: int = 0
    ) -> Tensor:
        """Augmented copies, each with its own draw: float [batch, 3, size, size] to the same.

        Pixels from outside repeat the border. ``generator`` is on the CPU, so that a seed gives the same draws on
        every device. With ``rows``, ``images`` are these rows of ``batch`` images, and get the draws of those rows.
        """
        count = len(images) if rows is None else batch
        mine = torch.arange(count) if rows is None else torch.as_tensor(rows)
        draws = (torch.rand((5, count), generator=generator) * 2 - 1)[:, mine]
        angle = draws[0] * math.radians(self.rotation)
        scale = 1 / (1 + draws[1] * self.scale)
        sign = torch.where(draws[4] < 0, -1.0, 1.0) if self.mirror else torch.ones(len(images))
        theta = torch.zeros(len(images), 2, 3)
        theta[:, 0, 0], theta[:, 0, 1] = torch.cos(angle) * scale * sign, -torch.sin(angle) * scale
        theta[:, 1, 0], theta[:, 1, 1] = torch.sin(angle) * scale * sign, torch.cos(angle) * scale
        theta[:, 0, 2], theta[:, 1, 2] = draws[2] * self.shift * 2, draws[3] * self.shift * 2  # grid spans -1..1
        grid = F.affine_grid(theta.to(images), list(images.shape), align_corners=False)
        moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        if self.grayscale == 0:
            return moved
        grey = (torch.rand(count, generator=generator)[mine] < self.grayscale).to(images.device)
        return torch.where(grey[:, None, None, None], moved.mean(dim=1, keepdim=True), moved)
