"""``bench.load_split``: the classes and images of a split, for your own training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.api.arguments import check_whole, data_folder
from bench.datasets.base import DATASETS, Dataset
from bench.errors import check_known
from bench.settings.request import in_text
from bench.settings.run_settings import assign
from bench.types import ROLES, Item, Split

if TYPE_CHECKING:
    from bench.api.torch_images import TorchImages

Role = Literal["train", "validation", "queries", "gallery"]


@dataclass(frozen=True)
class LoadedSplit:
    """A split and the dataset that reads its images."""

    split: Split
    source: Dataset

    @property
    def name(self) -> str:
        """The name of the split."""
        return self.split.name

    @property
    def seen(self) -> tuple[str, ...]:
        """The classes to train on."""
        return self.split.seen

    @property
    def unseen(self) -> tuple[str, ...]:
        """The classes of the test."""
        return self.split.unseen

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the images and their roles: runs with one fingerprint used the same images."""
        return self.split.fingerprint

    @property
    def labels(self) -> dict[str, Any]:
        """The labels of queries and gallery, as arguments: ``evaluate(query, gallery, **split.labels)``."""
        arrays = self.split.label_arrays()
        found: dict[str, Any] = {name: arrays[name] for name in ("query_labels", "gallery_labels")}
        if "query_clusters" in arrays:
            found["clusters"] = arrays["query_clusters"]
        if "query_groups" in arrays:
            found["groups"] = arrays["query_groups"], arrays["gallery_groups"]
        return found

    def items(self, role: Role) -> tuple[Item, ...]:
        """The images of a role, in the canonical order: path, class and modality of each."""
        check_known("A split has no role", role, ROLES)
        found: tuple[Item, ...] = getattr(self.split, role)
        return found

    def limited(self, per_class: int) -> LoadedSplit:
        """The first ``per_class`` images of each class, role and modality, for smoke tests."""
        check_whole("per_class", per_class, 1)
        return replace(self, split=self.split.limited(per_class))

    def torch_dataset(self, role: Role, transform: Callable[[Any], Any] | None = None) -> TorchImages:
        """The images of a role as a dataset for ``torch.utils.data.DataLoader``: pairs of an image and its label.

        ``transform`` gets an RGB picture of Pillow; without one, the picture is the element. A label of ``train`` is a
        position in ``seen``; those of ``queries`` and ``gallery`` are those of ``labels``.
        """
        from bench.api.torch_images import TorchImages  # imports torch, which takes seconds

        items = self.items(role)
        tested = {"queries": "query_labels", "gallery": "gallery_labels"}
        labels = self.labels[tested[role]] if role in tested else self.split.train_labels(items)
        return TorchImages(self.source, items, labels.tolist(), transform)


def load_split(
    name: str,
    /,
    *,
    root: str | Path | None = None,
    split: str | None = None,
    data_root: str | Path | None = None,
    **settings: Any,
) -> LoadedSplit:
    """A split of a dataset (``bench list datasets``, ``bench list splits``), by default the dataset's first.

    ``root`` is the folder of the dataset, ``data_root`` the folder of all datasets; ``settings`` are those of the
    dataset, such as ``unseen`` for your own ``folder``. Raises BenchError for an unknown name and for missing images.

    >>> split = load_split("emoji")
    >>> len(split.seen), len(split.unseen), len(split.items("queries")), len(split.items("gallery"))
    (313, 93, 431, 600)
    """
    kind = DATASETS.get(name)
    if root is not None:
        settings["root"] = root
    own = assign([kind.Settings()], [f"{key}={in_text(value)}" for key, value in settings.items()])[0]
    source = kind(data_folder(data_root), own)
    return LoadedSplit(source.split(split), source)
