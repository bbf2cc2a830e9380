"""Which images make a training batch: the same classes in both domains, equally many sketches and photos."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bench.errors import DataError, UsageError
from bench.types import Labels


class BalancedBatches:
    """Class-balanced two-domain batches of one epoch.

    A batch takes ``batch_size / (2 * per_class)`` classes with ``per_class`` sketches and ``per_class`` photos of
    each. Classes come in random order without repetition until all were used; the images of a class likewise, so that
    no image waits for another to be drawn twice as often. An epoch has as many batches as the images fill.

    ``labels`` int64 [images], ``is_photo`` bool [images]. Raises DataError when there is no class, or one
    without a sketch or a photo.
    Source: docs/method.md, "The three losses".
    """

    def __init__(self, labels: Labels, is_photo: npt.NDArray[np.bool_], *, batch_size: int, per_class: int) -> None:
        self.classes = np.unique(labels)
        if len(self.classes) == 0:
            raise DataError("The split has no seen class to train on: leave some seen, or take an untrained method.")
        self.per_class = per_class
        self.members: dict[tuple[int, bool], Labels] = {}
        for label in self.classes.tolist():
            for photo in (False, True):
                found = np.flatnonzero((labels == label) & (is_photo == photo))
                if len(found) == 0:
                    raise DataError(
                        f"Seen class number {label} has no {'photo' if photo else 'sketch'} to train on: "
                        "add one or take the class out of the split."
                    )
                self.members[label, photo] = found
        self.classes_per_batch = min(max(1, batch_size // (2 * per_class)), len(self.classes))
        self.steps = max(1, len(labels) // (self.classes_per_batch * 2 * per_class))

    def __len__(self) -> int:
        return self.steps

    @property
    def batch(self) -> int:
        """Images of a batch."""
        return 2 * self.classes_per_batch * self.per_class

    def share(self, rank: int, size: int) -> list[int]:
        """Rows of a batch that process ``rank`` of ``size`` takes: whole classes, in both domains.

        Raises UsageError when a batch has fewer classes than there are processes.
        """
        if size > self.classes_per_batch:
            raise UsageError(
                f"A batch of {self.classes_per_batch} classes cannot be split over {size} processes: raise "
                "--batch-size, lower --set per_class=N, or start fewer."
            )
        first, last = (self.per_class * (self.classes_per_batch * each // size) for each in (rank, rank + 1))
        half = self.classes_per_batch * self.per_class
        return [*range(first, last), *range(half + first, half + last)]

    def epoch(self, seed: int, epoch: int) -> Iterator[list[int]]:
        """Positions of each batch, sketches first then photos, class by class in the same order on both sides.

        A function of (seed, epoch) alone: a resumed run draws what an uninterrupted one draws.
        """
        random = np.random.default_rng((seed, epoch))
        classes = _Deck(self.classes, random)
        decks = {key: _Deck(found, random) for key, found in self.members.items()}
        for _ in range(self.steps):
            chosen = classes.deal(self.classes_per_batch)
            yield [
                position
                for photo in (False, True)
                for label in chosen
                for position in decks[label, photo].deal(self.per_class)
            ]


class _Deck:
    """Cards dealt in random order, reshuffled when they run out; one hand holds a card once while the deck lasts."""

    def __init__(self, cards: Labels, random: np.random.Generator) -> None:
        self.cards = cards
        self.random = random
        self.left: list[int] = []

    def deal(self, count: int) -> list[int]:
        hand: list[int] = []
        while len(hand) < count:
            if not self.left:
                self.left = self.random.permutation(self.cards).tolist()
                if len(self.cards) > len(hand):  # those already in this hand go to the back of the new order
                    self.left.sort(key=lambda card: card in hand)
            hand.append(self.left.pop(0))
        return hand
