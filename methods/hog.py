"""Histograms of oriented gradients: the baseline of shape alone, without training.

Paper: Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005. Hu and Collomosse, "A
performance evaluation of gradient field HOG descriptor for sketch based image retrieval", CVIU 2013, compare sketches
and photos by it.

Implemented: scikit-image's descriptor of the whole square, with 9 unsigned orientations, blocks of 2x2 cells and
L2-Hys. It compares where edges are and how they run. Of the colour channels, the one with the strongest gradient
counts.

Left out: the second paper's gradient field and its bag of visual words. They make the descriptor invariant to
position, but need a learned codebook.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from bench.errors import UsageError
from bench.methods.base import METHODS, Context, Method
from bench.settings.run_settings import setting


@dataclass(frozen=True)
class HogSettings:
    """Settings of the descriptor."""

    cells: int = setting(8, "cells along one side of the image", least=1)
    orientations: int = setting(9, "bins of half a turn", least=1)
    block: int = setting(2, "cells along one side of a block, within which contrast is normalised")


@METHODS.register("hog")
class Hog(Method):
    """Nearest neighbours of histograms of gradients."""

    name = "hog"
    summary = "Histograms of oriented gradients, no training: what shape alone gives."
    Settings: ClassVar[type] = HogSettings
    uses_backbone = False

    def __init__(self, settings: HogSettings, context: Context) -> None:
        super().__init__(settings, context)
        size = context.run.image_size
        if size // settings.cells < 2:
            raise UsageError(f"Setting 'cells' is {settings.cells}, too many for an image of {size} pixels: lower it.")
        if not 1 <= settings.block <= settings.cells:
            raise UsageError(f"Setting 'block' must be between 1 and 'cells' ({settings.cells}), not {settings.block}.")

    def embed(self, images: Tensor, is_photo: bool) -> npt.NDArray[np.float32]:
        """Descriptors float32 [batch, (cells - block + 1)^2 * block^2 * orientations]."""
        from skimage.feature import hog  # takes a second to import, and no other method needs it

        settings = self.settings
        cell = images.shape[-1] // settings.cells  # pixels
        kept = cell * settings.cells  # incomplete cells at the right and the bottom are left out
        rows = [
            hog(
                image,
                orientations=settings.orientations,
                pixels_per_cell=(cell, cell),
                cells_per_block=(settings.block, settings.block),
                channel_axis=-1,
            )
            for image in images[:, :, :kept, :kept].permute(0, 2, 3, 1).float().cpu().numpy()
        ]
        return np.stack(rows).astype(np.float32)
