"""The base class and the registry of datasets.

To add a dataset, put a file into this folder with a subclass of ``Dataset`` and ``@DATASETS.register(name)``.
``tests/test_every_dataset.py`` tests every registered dataset.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bench.errors import UsageError, check_known
from bench.registry import Registry, not_derived_from
from bench.types import Item, Modality, Relevance, Split

AVAILABLE = "available"  # NAME:available is the part of a split whose classes are on disk
TUNING = "tuning"  # NAME:tuning is the variant of a split for choosing settings


@dataclass(frozen=True)
class NoSettings:
    """A dataset without settings of its own."""


@dataclass(frozen=True)
class Whereabouts:
    """The searched folders of a dataset, and what belongs there.

    ``root`` is None if it was not found; ``layout`` is the name of its layout. ``expected`` maps each supported layout
    to its folders. ``missing`` are the folders that an incomplete tree lacks. ``archives`` are the published files,
    ``nearby`` the contents of the searched folders.
    """

    looked: tuple[Path, ...] = ()
    root: Path | None = None
    layout: str = ""
    expected: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    nearby: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """Images on disk by modality and class, for all splits, and ignored entries.

    ``missing`` are (modality, class name) without an image. Every split ignores ``foreign`` (folders that are no class)
    and ``stray`` (all others that are no image of a class).
    """

    counts: Mapping[Modality, Mapping[str, int]]
    missing: tuple[tuple[Modality, str], ...] = ()
    foreign: tuple[str, ...] = ()
    stray: tuple[str, ...] = ()

    def total(self, modality: Modality) -> int:
        """Number of images of one modality."""
        return sum(self.counts[modality].values())


class Dataset(ABC):
    """One dataset on disk.

    ``summary``: one sentence for ``bench list datasets``. ``licence``: terms of use of the images. ``addresses``:
    official ones of its archives or of its page. ``split_names``: the frozen splits, the default first. ``recipe``:
    default run settings. ``caution``: a sentence in every report. ``Settings``: a frozen dataclass of
    ``--set key=value``. ``locating``: settings for the folder or the split only, which are not part of a run's key.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    licence: ClassVar[str]
    addresses: ClassVar[tuple[str, ...]] = ()
    split_names: ClassVar[tuple[str, ...]]
    recipe: ClassVar[Mapping[str, Any]] = {}
    caution: ClassVar[str] = ""
    Settings: ClassVar[type] = NoSettings
    locating: ClassVar[frozenset[str]] = frozenset(("root",))

    def __init__(self, data_root: Path, settings: Any = None) -> None:
        self.data_root = data_root
        self.settings = self.Settings() if settings is None else settings

    def split(self, name: str | None = None) -> Split:
        """The split ``name``, or the default one; in ``NAME:tuning`` some of its seen classes are the unseen ones.

        ``NAME:available`` has only the classes that are on disk.

        Raises UsageError for an unknown name, DataError if the data is missing or contradicts the split.
        """
        if not isinstance(name, str | None):
            raise UsageError(f"A split is named by a text, not by {name!r}.")
        name, colon, variant = (name or self.split_names[0]).partition(":")
        check_known(f"Dataset {self.name!r} has no split", name, self.split_names)
        if not colon:
            return self.load_split(name)
        if variant.partition("-")[0] == AVAILABLE:  # the split's own name ends in its number of classes
            return self.load_available(name)
        if variant != TUNING:
            raise UsageError(
                f"Split {name!r} has no variant {variant!r}. Available: {name}:{TUNING}, {name}:{AVAILABLE}."
            )
        return self.load_split(name).for_tuning(f"{name}:{TUNING}")

    def load_available(self, name: str) -> Split:
        """The split of the classes that are on disk; its name ends in their number. Raises UsageError without such."""
        raise UsageError(f"Dataset {self.name!r} always has all of its classes: leave out --available-classes.")

    @classmethod
    def relevance_of(cls, split_name: str) -> Relevance:
        """What a split of this name finds relevant; fine-grained ones have ``-fine`` in their name."""
        return "instance" if "-fine" in split_name else "class"

    def identity(self) -> dict[str, Any]:
        """The settings that are part of a run's key; the folder is not, so moved data stays the same data."""
        return {name: value for name, value in asdict(self.settings).items() if name not in self.locating}

    @abstractmethod
    def load_split(self, name: str) -> Split:
        """Load one of ``split_names``; raises DataError if the data is missing or contradicts it."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The bytes of the image file at ``path`` (``Item.path``); raises DataError if it cannot be read."""

    def stamp(self, paths: Iterable[str]) -> str:
        """A text for cache keys that changes when an image file of ``paths`` changes.

        The default, an empty text, is for data that ``Split.content`` pins.
        """
        return ""

    def whereabouts(self) -> Whereabouts:
        """The folder of the data; never raises for missing data. By default the data ships with the project."""
        return Whereabouts(layout="shipped with the project")

    def survey(self) -> Survey:
        """Images on disk. By default those of the default split; raises DataError as ``split``."""
        split = self.split()
        return Survey(count_by_class((*split.train, *split.validation, *split.queries, *split.gallery)))


def count_by_class(items: Iterable[Item]) -> dict[Modality, dict[str, int]]:
    """Count images by modality and class name."""
    counts: dict[Modality, Counter[str]] = {"sketch": Counter(), "photo": Counter()}
    for item in items:
        counts[item.modality][item.class_name] += 1
    return {modality: dict(found) for modality, found in counts.items()}


DATASETS: Registry[type[Dataset]] = Registry(
    "dataset", "bench.datasets", "bench.datasets", wrong=not_derived_from(Dataset)
)
