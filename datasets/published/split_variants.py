"""The images of a stored run again: its dataset and split as they were, checked by the fingerprint. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from bench.datasets.base import DATASETS, Dataset
from bench.datasets.published.shaping import shaped
from bench.errors import DataError
from bench.types import Split


class RunOnSplit(Protocol):
    """What is read of a stored run."""

    @property
    def id(self) -> int: ...  # noqa: D102
    @property
    def dataset(self) -> str: ...  # noqa: D102
    @property
    def split(self) -> str: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def per_class_limit(self) -> int | None: ...  # noqa: D102
    @property
    def gallery(self) -> str: ...  # noqa: D102
    @property
    def selection(self) -> str: ...  # noqa: D102
    @property
    def configuration(self) -> Mapping[str, Any]: ...  # noqa: D102


def reopen(run: RunOnSplit, data_root: Path, unseen: Sequence[str]) -> tuple[Dataset, Split]:
    """The dataset and the split of ``run``, positions as when it was scored; ``unseen`` are the classes of its queries.

    A dataset is looked for below ``data_root``; a user's own folder is ``data_root`` itself.

    Raises DataError when the data is missing, or is not that of the run (another fingerprint); UsageError for a
    dataset or split that this program does not know.
    """
    asked: dict[str, Any] = dict(run.configuration.get("dataset", {}))
    own_folder = "name" in asked
    kind = DATASETS.get("folder" if own_folder else run.dataset)
    known = {each.name for each in fields(kind.Settings)}
    if own_folder and not data_root.is_dir():
        raise DataError(
            f"Run {run.id} is of a folder of your own, and there is no folder {data_root}: name yours by --data-root."
        )
    if own_folder:
        asked |= {"root": str(data_root), **choice_of(run.split, unseen)}
    dataset = kind(data_root, kind.Settings(**{name: value for name, value in asked.items() if name in known}))
    split = shaped(
        dataset.split(run.split), per_class_limit=run.per_class_limit, gallery=run.gallery, rule=run.selection
    )
    if dropped := run.configuration.get("dropped"):
        split = split.without(dropped)
    if split.fingerprint != run.fingerprint:
        raise DataError(
            f"The images of dataset {run.dataset!r} here are not those of run {run.id} (fingerprint "
            f"{split.fingerprint[:12]} instead of {run.fingerprint[:12]}): name the folder that it used by --data-root."
        )
    return dataset, split


def choice_of(split: str, unseen: Sequence[str]) -> dict[str, Any]:
    """The settings that make a folder's split of this name: how its ``unseen`` classes are chosen.

    >>> [choice_of(split, ["bee", "cat"]) for split in ("draw20-seed0-1a2b", "all-1a2b", "unseen-1a2b")]
    [{'draw': 20, 'seed': 0}, {'unseen': 'all'}, {'unseen': 'bee,cat'}]
    """
    drawn = re.match(r"draw(\d+)-seed(\d+)-", split)
    if drawn:
        return {"draw": int(drawn[1]), "seed": int(drawn[2])}
    return {"unseen": "all" if split.startswith("all-") else ",".join(unseen)}
