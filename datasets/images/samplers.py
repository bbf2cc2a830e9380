"""Draw training batches with the same classes in both domains, half sketches and half photos."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bench.errors import DataError, UsageError
from bench.types import Labels


class BalancedBatches:
    """Class-balanced two-domain batches of one epoch.

    A batch holds ``batch_size / (2 * per_class)`` classes with ``per_class`` sketches and ``per_class`` photos of
    each. Classes, and the images of a class, are drawn without replacement until all were used. An epoch has as many
    batches as the images fill.

    ``labels`` int64 [images], ``is_photo`` bool [images]. Raises DataError without a class, or for a class
    without a sketch or a photo.
    Source: docs/method.md, "The three losses".
    """

    def __init__(self, labels: Labels, is_photo: npt.NDArray[np.bool_], *, batch_size: int, per_class: int) -> None:
        self.classes = np.unique(labels)
        if len(self.classes) == 0:
            raise DataError(
                "The split has no seen class to train on: leave some classes seen, or use an untrained method."
            )
        self.per_class = per_class
        self.members: dict[tuple[int, bool], Labels] = {}
        for label in self.classes.tolist():
            for photo in (False, True):
                found = np.flatnonzero((labels == label) & (is_photo == photo))
                if len(found) == 0:
                    raise DataError(
                        f"Seen class number {label} has no {'photo' if photo else 'sketch'} to train on: "
                        "add one or remove the class from the split."
                    )
                self.members[label, photo] = found
        self.classes_per_batch = min(max(1, batch_size // (2 * per_class)), len(self.classes))
        self.steps = max(1, len(labels) // (self.classes_per_batch * 2 * per_class))

    def __len__(self) -> int:
        return self.steps

    @property
    def batch(self) -> int:
        """Number of images per batch."""
        return 2 * self.classes_per_batch * self.per_class

    def share(self, rank: int, size: int) -> list[int]:
        """Rows of a batch for process ``rank`` of ``size``: whole classes, in both domains.

        Raises UsageError when a batch has fewer classes than processes.
        """
        if size > self.classes_per_batch:
            raise UsageError(
                f"A batch of {self.classes_per_batch} classes cannot be split over {size} processes: raise "
                "--batch-size, lower --set per_class=N, or start fewer processes."
            )
        first, last = (self.per_class * (self.classes_per_batch * each // size) for each in (rank, rank + 1))
        half = self.classes_per_batch * self.per_class
        return [*range(first, last), *range(half + first, half + last)]

    def epoch(self, seed: int, epoch: int) -> Iterator[list[int]]:
        """Positions of each batch: sketches, then photos, with the classes in the same order.

        Depends only on (seed, epoch), so a resumed run draws the same batches.
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


class InstanceBatches(BalancedBatches):
    """As ``BalancedBatches``; each sketch of a batch stands beside a photo of its instance.

    ``instances`` int64 [images]. An instance without a sketch or a photo is not drawn. Of few classes more instances
    are drawn, so that a batch is as large as with many. Raises DataError for a class without such a pair.
    """

    def __init__(
        self, labels: Labels, is_photo: npt.NDArray[np.bool_], instances: Labels, *, batch_size: int, per_class: int
    ) -> None:
        super().__init__(labels, is_photo, batch_size=batch_size, per_class=per_class)
        self.per_class = max(per_class, batch_size // (2 * self.classes_per_batch))
        self.steps = max(1, len(labels) // self.batch)
        self.instances: dict[int, Labels] = {}
        self.images: dict[tuple[int, bool], Labels] = {}
        for photo in (False, True):
            own = np.flatnonzero(is_photo == photo)
            own = own[np.argsort(instances[own], kind="stable")]
            numbers, begins = np.unique(instances[own], return_index=True)
            self.images |= {(int(n), photo): part for n, part in zip(numbers, np.split(own, begins[1:]), strict=True)}
        for label in self.classes.tolist():
            found = np.unique(instances[labels == label])
            pairs = [n for n in found.tolist() if (n, False) in self.images and (n, True) in self.images]
            if not pairs:
                raise DataError(
                    f"Seen class number {label} has no sketch beside its photo to train on: add one, or pass "
                    "--set positives=class."
                )
            self.instances[label] = np.array(pairs, dtype=np.int64)

    def epoch(self, seed: int, epoch: int) -> Iterator[list[int]]:
        """Positions of each batch: sketches, then the photos of the same instances."""
        random = np.random.default_rng((seed, epoch))
        classes = _Deck(self.classes, random)
        decks = {label: _Deck(found, random) for label, found in self.instances.items()}
        images = {key: _Deck(found, random) for key, found in self.images.items()}
        for _ in range(self.steps):
            chosen = [n for label in classes.deal(self.classes_per_batch) for n in decks[label].deal(self.per_class)]
            yield [images[instance, photo].deal(1)[0] for photo in (False, True) for instance in chosen]


class _Deck:
    """Deals cards in random order and reshuffles an empty deck; a hand repeats a card only if the deck is smaller."""

    def __init__(self, cards: Labels, random: np.random.Generator) -> None:
        self.cards = cards
        self.random = random
        self.left: list[int] = []

    def deal(self, count: int) -> list[int]:
        hand: list[int] = []
        while len(hand) < count:
            if not self.left:
                self.left = self.random.permutation(self.cards).tolist()
                if len(self.cards) > len(hand):  # cards of this hand go to the back
                    self.left.sort(key=lambda card: card in hand)
            hand.append(self.left.pop(0))
        return hand
