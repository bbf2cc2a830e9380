"""What a dataset is: a declaration, its splits and a way to read one image file.

To add one, put a file into this folder that subclasses ``Dataset`` and registers it with ``@DATASETS.register(name)``;
nothing else is edited, and ``tests/test_every_dataset.py`` walks it because it is registered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bench.errors import UsageError, nearest
from bench.registry import Registry, not_derived_from
from bench.types import Item, Modality, Split

TUNING = "tuning"  # NAME:tuning is the variant of a split on which settings may be chosen


@dataclass(frozen=True)
class NoSettings:
    """A dataset without settings of its own."""


@dataclass(frozen=True)
class Whereabouts:
    """Where a dataset was looked for and what a user must put there.

    ``root`` is None when it was not found; ``layout`` names how it lies there. ``expected`` maps each layout that is
    understood to its folders, ``archives`` names the files in circulation, ``nearby`` says what the places hold.
    """

    looked: tuple[Path, ...] = ()
    root: Path | None = None
    layout: str = ""
    expected: Mapping[str, str] = field(default_factory=dict)
    archives: tuple[str, ...] = ()
    nearby: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What lies on disk, whatever a split makes of it: images by modality and class, and what does not belong.

    ``missing`` are (modality, class name) without an image, ``foreign`` folders that are no class, ``stray`` all
    else that is no image of a class; the last two are left out of every split.
    """

    counts: Mapping[Modality, Mapping[str, int]]
    missing: tuple[tuple[Modality, str], ...] = ()
    foreign: tuple[str, ...] = ()
    stray: tuple[str, ...] = ()

    def total(self, modality: Modality) -> int:
        """Images of one modality."""
        return sum(self.counts[modality].values())


class Dataset(ABC):
    """One dataset on disk.

    ``summary`` is one sentence for ``bench list datasets``, ``licence`` says under what terms its images may be used,
    ``split_names`` its frozen splits with the default one first, ``recipe`` the run settings that it asks for unless
    told otherwise, ``caution`` a sentence that every report of it carries, ``Settings`` a frozen dataclass of what
    ``--set key=value`` can change, ``locating`` those settings that only say where the images lie or which split is
    meant, which the split itself tells.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    licence: ClassVar[str]
    split_names: ClassVar[tuple[str, ...]]
    recipe: ClassVar[Mapping[str, Any]] = {}
    caution: ClassVar[str] = ""
    Settings: ClassVar[type] = NoSettings
    locating: ClassVar[frozenset[str]] = frozenset(("root",))

    def __init__(self, data_root: Path, settings: Any = None) -> None:
        self.data_root = data_root
        self.settings = self.Settings() if settings is None else settings

    def split(self, name: str | None = None) -> Split:
        """The split called ``name`` (the default one for None); ``NAME:tuning`` holds unseen classes out of the seen.

        Raises UsageError for an unknown name, DataError when the data is missing or contradicts the split.
        """
        name, colon, variant = (name or self.split_names[0]).partition(":")
        if name not in self.split_names:
            raise UsageError(f"Dataset {self.name!r} has no split {name!r}. {nearest(name, self.split_names)}")
        if not colon:
            return self.load_split(name)
        if variant != TUNING:
            raise UsageError(f"Split {name!r} has no variant {variant!r}: there is {name}:{TUNING}.")
        return self.load_split(name).for_tuning(f"{name}:{TUNING}")

    def asked(self) -> dict[str, Any]:
        """The settings that belong to a run's identity: data that is moved elsewhere stays the same data."""
        return {name: value for name, value in asdict(self.settings).items() if name not in self.locating}

    @abstractmethod
    def load_split(self, name: str) -> Split:
        """The split of one of ``split_names``; raises DataError when the data is missing or contradicts it."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """The bytes of the image file at ``path`` (``Item.path``); raises DataError when it cannot be read."""

    def stamp(self, paths: Iterable[str]) -> str:
        """What becomes another text when an image file of ``paths`` changes; for keys of what is kept of the images.

        The default, nothing, is for data whose content ``Split.content`` pins.
        """
        return ""

    def whereabouts(self) -> Whereabouts:
        """Where the data lies; never raises for data that is missing. The default: it ships with the project."""
        return Whereabouts(layout="shipped with the project")

    def survey(self) -> Survey:
        """What lies on disk. The default counts the images of the default split; raises DataError as that does."""
        split = self.split()
        return Survey(count_by_class((*split.train, *split.validation, *split.queries, *split.gallery)))


def count_by_class(items: Iterable[Item]) -> dict[Modality, dict[str, int]]:
    """Images by modality and class name."""
    counts: dict[Modality, Counter[str]] = {"sketch": Counter(), "photo": Counter()}
    for item in items:
        counts[item.modality][item.class_name] += 1
    return {modality: dict(found) for modality, found in counts.items()}


DATASETS: Registry[type[Dataset]] = Registry(
    "dataset", "bench.datasets", "bench.datasets", wrong=not_derived_from(Dataset)
)
