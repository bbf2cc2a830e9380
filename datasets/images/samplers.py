"""Draw training batches of sketches and photos: so many images of some classes, or images of any class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bench.errors import DataError, UsageError
from bench.settings.run_settings import RunSettings
from bench.types import Labels

Domains = npt.NDArray[np.bool_]


class Batches(ABC):
    """The batches of a training: ``batch`` images each, sketches first, ``steps`` batches an epoch."""

    batch: int
    steps: int

    def __len__(self) -> int:
        return self.steps

    @abstractmethod
    def share(self, rank: int, size: int) -> list[int]:
        """Rows of a batch for process ``rank`` of ``size``; raises UsageError if there are too few for all."""

    @abstractmethod
    def epoch(self, seed: int, epoch: int) -> Iterator[list[int]]:
        """Positions of each batch: sketches, then photos.

        Depends only on (seed, epoch), so a resumed run draws the same batches.
        """


class BalancedBatches(Batches):
    """Class-balanced two-domain batches of one epoch.

    A batch holds ``batch_size / (2 * per_class)`` classes with ``2 * per_class`` images of each. The share of photos in
    the whole batch is ``photo_share``; unless it is one half, a class may have images of one domain only. Classes, and
    the images of a class, are drawn without replacement until all were used. An epoch has as many batches as the images
    fill.

    ``labels`` int64 [images], ``is_photo`` bool [images]. Raises DataError without a class, or for a class
    without a sketch or a photo; UsageError if a batch would have no sketch or no photo.
    Source: docs/method.md, "The three losses".
    """

    def __init__(
        self, labels: Labels, is_photo: Domains, *, batch_size: int, per_class: int, photo_share: float = 0.5
    ) -> None:
        self.classes = np.unique(labels)
        if len(self.classes) == 0:
            raise DataError(
                "The split has no seen class to train on: leave some classes seen, or use an untrained method."
            )
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
        self.classes_per_batch = _classes_per_batch(batch_size, per_class, len(self.classes))
        self._size(len(labels), per_class, photo_share)

    def _size(self, images: int, per_class: int, photo_share: float) -> None:
        """Set how many sketches and photos each class of a batch has: ``hands``, [classes of a batch] each."""
        self.per_class, classes = per_class, self.classes_per_batch
        self.batch = 2 * classes * per_class
        self.steps = max(1, images // self.batch)
        sketches, _ = split_by_domain(self.batch, photo_share)
        hands = [sketches // classes + (number < sketches % classes) for number in range(classes)]
        self.hands = {False: hands, True: [2 * per_class - hand for hand in hands]}

    def share(self, rank: int, size: int) -> list[int]:
        """Rows of a batch for process ``rank`` of ``size``: whole classes, in both domains.

        Raises UsageError when a batch has fewer classes than processes.
        """
        if size > self.classes_per_batch:
            raise UsageError(
                f"A batch of {self.classes_per_batch} classes cannot be split over {size} processes: raise "
                "--batch-size, lower --set per_class=N, or start fewer processes."
            )
        first, last = (self.classes_per_batch * each // size for each in (rank, rank + 1))
        rows, begin = list[int](), 0
        for photo in (False, True):
            hands = self.hands[photo]
            rows += range(begin + sum(hands[:first]), begin + sum(hands[:last]))
            begin += sum(hands)
        return rows

    def epoch(self, seed: int, epoch: int) -> Iterator[list[int]]:
        """Positions of each batch: sketches, then photos, with the classes in the same order."""
        random = np.random.default_rng((seed, epoch))
        classes = _Deck(self.classes, random)
        decks = {key: _Deck(found, random) for key, found in self.members.items()}
        for _ in range(self.steps):
            chosen = classes.deal(self.classes_per_batch)
            yield [
                position
                for photo in (False, True)
                for label, hand in zip(chosen, self.hands[photo], strict=True)
                for position in decks[label, photo].deal(hand)
            ]


class InstanceBatches(BalancedBatches):
    """As ``BalancedBatches``; each sketch of a batch stands beside a photo of its instance.

    ``instances`` int64 [images]. An instance without a sketch or a photo is not drawn. Of few classes more instances
    are drawn, so that a batch is as large as with many. Raises DataError for a class without such a pair.
    """

    def __init__(
        self, labels: Labels, is_photo: Domains, instances: Labels, *, batch_size: int, per_class: int
    ) -> None:
        super().__init__(labels, is_photo, batch_size=batch_size, per_class=per_class)
        self._size(len(labels), max(per_class, batch_size // (2 * self.classes_per_batch)), 0.5)
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


class ImageBatches(Batches):
    """Batches of images of any class, drawn without replacement in each domain, as SAKE's two loaders draw them.

    A batch has ``batch_size`` images with the share of photos ``photo_share``. A class may have images of one domain
    only. An epoch ends with the domain that is used up first. ``is_photo`` bool [images]. Raises DataError if a domain
    has fewer images than a batch needs, UsageError if a batch would have no sketch or no photo.
    Source: Liu et al., "Semantic-aware knowledge preservation", ICCV 2019, its published code.
    """

    def __init__(self, is_photo: Domains, *, batch_size: int, photo_share: float) -> None:
        self.batch = batch_size
        self.counts = split_by_domain(batch_size, photo_share)
        self.members = [np.flatnonzero(is_photo == photo) for photo in (False, True)]
        for found, count, name in zip(self.members, self.counts, ("sketches", "photos"), strict=True):
            if len(found) < count:
                raise DataError(
                    f"A batch takes {count} {name}, but the split has {len(found)} to train on: lower --batch-size."
                )
        self.steps = min(len(found) // count for found, count in zip(self.members, self.counts, strict=True))

    def share(self, rank: int, size: int) -> list[int]:
        """Rows of a batch for process ``rank`` of ``size``; raises UsageError if there are fewer than processes."""
        if size > self.batch:
            raise UsageError(f"A batch of {self.batch} images cannot be split over {size} processes: start fewer.")
        return list(range(self.batch * rank // size, self.batch * (rank + 1) // size))

    def epoch(self, seed: int, epoch: int) -> Iterator[list[int]]:
        """Positions of each batch: sketches, then photos."""
        random = np.random.default_rng((seed, epoch))
        drawn = [random.permutation(found).tolist() for found in self.members]
        for step in range(self.steps):
            parts = zip(drawn, self.counts, strict=True)
            yield [position for found, count in parts for position in found[step * count : (step + 1) * count]]


def make_batches(run: RunSettings, labels: Labels, is_photo: Domains, instances: Labels | None = None) -> Batches:
    """The batches that the settings name; with ``instances``, in pairs of a sketch and its photo.

    ``labels`` and ``instances`` int64 [images], ``is_photo`` bool [images]. Raises as the classes.
    """
    sizes = {"batch_size": run.batch_size, "per_class": run.per_class}
    if instances is not None:
        return InstanceBatches(labels, is_photo, instances, **sizes)
    if run.batches == "images":
        return ImageBatches(is_photo, batch_size=run.batch_size, photo_share=run.photo_share)
    return BalancedBatches(labels, is_photo, photo_share=run.photo_share, **sizes)


def check_batches(run: RunSettings, classes: int, is_photo: Domains) -> None:
    """Raise the errors of ``make_batches`` that settings cause: a batch with too few images of a domain, or too many.

    ``classes``: number of seen ones; ``is_photo`` bool [images].
    """
    batch_by_domain(run, classes)
    if run.batches == "images":
        make_batches(run, np.empty(0, dtype=np.int64), is_photo)
    elif run.batch_size < 2 * run.per_class:
        raise UsageError(
            f"A batch of {run.batch_size} images cannot hold {run.per_class} sketches and as many photos of a class: "
            "raise --batch-size or lower --set per_class=N."
        )


def batch_by_domain(run: RunSettings, classes: int) -> tuple[int, int]:
    """Numbers of sketches and photos of a batch that is drawn from so many classes; raises UsageError without one."""
    if run.batches == "images":
        return split_by_domain(run.batch_size, run.photo_share)
    images = 2 * run.per_class * _classes_per_batch(run.batch_size, run.per_class, classes)
    return split_by_domain(images, run.photo_share)


def split_by_domain(images: int, photo_share: float) -> tuple[int, int]:
    """Numbers of sketches and photos of a batch, rounded to whole images.

    >>> split_by_domain(40, 0.9), split_by_domain(39, 0.67)
    ((4, 36), (13, 26))
    """
    photos = round(photo_share * images)
    if not 0 < photos < images:
        raise UsageError(
            f"With photo_share={photo_share:g} a batch of {images} images has no {'sketch' if photos else 'photo'}: "
            "choose a share nearer to 0.5, or raise --batch-size."
        )
    return images - photos, photos


def _classes_per_batch(batch_size: int, per_class: int, classes: int) -> int:
    return min(max(1, batch_size // (2 * per_class)), classes)


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
