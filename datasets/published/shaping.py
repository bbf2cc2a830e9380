"""The dataset and split that a request asks for: settings, fewer images, a larger gallery, seen classes held out.

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from bench.datasets.base import DATASETS, Dataset
from bench.errors import DataError
from bench.settings.request import Request
from bench.settings.run_settings import assign, given, names
from bench.settings.selection_rules import selection
from bench.types import Split

VALIDATION = 0.1  # part of the seen classes that is held out when an epoch is chosen by them


def shape_split(split: Split, request: Request, dropped: Collection[str] = ()) -> Split:
    """A dataset's split as a request asks for it: limited, with its gallery, with room for its selection rule.

    ``dropped`` are paths of images to leave out. Raises UsageError for an unknown rule, DataError when the split has
    too few seen classes to hold some out.
    """
    if request.per_class_limit is not None:
        split = split.limited(request.per_class_limit)
    if request.gallery == "all":
        split = split.generalized()
    if selection(request.selection).needs == "validation classes":
        split = split.hold_out_classes(VALIDATION)
    return split.without(dropped) if dropped else split


def reopen_split(
    request: Request, data_root: Path, *, fingerprint: str, dropped: Collection[str] = ()
) -> tuple[Dataset, Split]:
    """Dataset and split of a stored run, positions as when it was scored.

    Raises DataError when the images are missing or others than those of the run.
    """
    request = locate_folder(request, data_root)
    kind = DATASETS.get(request.dataset)
    known = names(kind.Settings)
    own = [each for each in request.assignments if given([each]).keys() <= {*known}]
    dataset = kind(data_root, assign([kind.Settings()], own)[0])
    split = shape_split(dataset.split(request.split), request, dropped)
    check_fingerprint(split, fingerprint)
    return dataset, split


def locate_folder(request: Request, data_root: Path) -> Request:
    """A stored request with the place of its images: a user's own folder is ``data_root`` itself.

    Raises DataError when there is no such folder.
    """
    if request.dataset != "folder" or "root" in given(request.assignments):
        return request
    if not data_root.is_dir():
        raise DataError(
            f"The run is of a folder of your own, and there is no folder {data_root}: name yours by --data-root."
        )
    return replace(request, assignments=(*request.assignments, f"root={data_root}"))


def check_fingerprint(split: Split, fingerprint: str) -> None:
    """Raise DataError unless the images are those with this fingerprint."""
    if split.fingerprint != fingerprint:
        raise DataError(
            f"The images of dataset {split.dataset!r} here are not those of the run (fingerprint "
            f"{split.fingerprint[:12]} instead of {fingerprint[:12]}): name the folder that it used by --data-root."
        )
