"""Where tests run that every device must pass: on a GPU if torch sees one."""

from __future__ import annotations

import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
