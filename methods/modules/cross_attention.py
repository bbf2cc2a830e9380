"""Cross-attention between the tokens of a sketch and a photo, and a score of their relation.

Source: buptLinfy/ZSE-SBIR 3c6b0d5, ``model/ca.py`` and ``model/rn.py``.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS, HIDDEN, DROPOUT = 8, 1024, 0.1


def pairs_of_sketches(labels: Tensor, is_photo: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each sketch of a batch a photo of its class and one of another: positions, three times int64 [sketches].

    The n-th sketch of a class gets its n-th photo. Sketches without one of both are left out. ``labels`` int64 [batch],
    ``is_photo`` bool [batch].
    """
    sketches, photos = (~is_photo).nonzero()[:, 0], is_photo.nonzero()[:, 0]
    same = labels[sketches][:, None] == labels[photos][None, :]
    number = (labels[sketches][:, None] == labels[sketches][None, :]).tril(-1).sum(dim=1)  # of a sketch in its class
    usable = same.any(dim=1) & (~same).any(dim=1)
    sketches, same, number = sketches[usable], same[usable], number[usable]
    each = torch.arange(len(sketches), device=labels.device)
    return sketches, photos[_nth(same, number)], photos[_nth(~same, each)]


def _nth(mask: Tensor, number: Tensor) -> Tensor:
    """The column of the n-th true value of each row, counted cyclically: [rows, columns], int64 [rows] to [rows]."""
    wanted = number % mask.sum(dim=1) + 1
    return (mask & (mask.cumsum(dim=1) == wanted[:, None])).int().argmax(dim=1)


class CrossAttention(nn.Module):
    """One layer for sketches and one for photos, with the same weights at first; each takes the other's queries."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sketch = _Layer(width)
        self.photo = copy.deepcopy(self.sketch)

    def forward(self, sketches: Tensor, photos: Tensor) -> tuple[Tensor, Tensor]:
        """Two times [pairs, tokens, width] to two times [pairs, tokens, width]."""
        return self.sketch(sketches, photos), self.photo(photos, sketches)


class _Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        heads = HEADS if width % HEADS == 0 else 1
        self.attention = nn.MultiheadAttention(width, heads, dropout=DROPOUT, batch_first=True)
        self.hidden, self.output = nn.Linear(width, HIDDEN), nn.Linear(HIDDEN, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Keys and values of ``own`` tokens, queries of ``other``: [pairs, tokens, width] to the same shape."""
        attended, _ = self.attention(other, own, own, need_weights=False)
        own = self.norm1(own + self.dropout(attended))
        output = self.output(self.dropout(F.relu(self.hidden(own))))
        normalised: Tensor = self.norm2(own + self.dropout(output))
        return normalised


class RelationNetwork(nn.Module):
    """A score from 0 to 1 of the cosines between all places of a sketch and of a photo.

    ``side``: patches along one side of the image. For 14 the perceptron is 2401-343-49-1.
    """

    CHANNELS = 512

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.side = side
        stride = min(2, side)
        self.halved = nn.Conv2d(width, self.CHANNELS, stride, stride)
        places = (side // stride) ** 2
        self.perceptron = nn.Sequential(
            nn.Linear(places**2, round(places**1.5)),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(round(places**1.5), places),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(places, 1),
        )

    def forward(self, sketches: Tensor, photos: Tensor) -> Tensor:
        """Tokens of patches, twice [pairs, patches, width], to [pairs]."""
        cosines = F.normalize(self._places(sketches), dim=2) @ F.normalize(self._places(photos), dim=2).mT
        return torch.sigmoid(self.perceptron(cosines.flatten(1)))[:, 0]

    def _places(self, tokens: Tensor) -> Tensor:
        """[pairs, patches, width] to [pairs, places, channels]."""
        maps = tokens.mT.reshape(*tokens.mT.shape[:2], self.side, self.side)
        places: Tensor = self.halved(maps).flatten(2).mT
        return places
