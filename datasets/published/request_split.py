"""Open the dataset of a request, and apply the request to its split: limit, gallery, held-out classes. No torch."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bench.datasets.base import DATASETS, Dataset
from bench.errors import DataError
from bench.generalized import extend
from bench.settings.request import Request
from bench.settings.run_settings import assign, given, names
from bench.settings.selection_rules import selection
from bench.types import Split

SKETCHES = ("sketch", "sketches")  # of dataset folder
VALIDATION = 0.1  # fraction of the seen classes held out if they select the epoch


def apply_request(split: Split, request: Request, dropped: Collection[str] = ()) -> Split:
    """Apply a request's limit, gallery and selection rule to a split, and remove the images at ``dropped``.

    Raises UsageError for an unknown rule or gallery, DataError if there are too few seen classes to hold some out.
    """
    if request.per_class_limit is not None:
        split = split.limited(request.per_class_limit)
    split = extend(split, request.gallery)
    if selection(request.selection).needs == "validation classes":
        split = split.hold_out_classes(VALIDATION)
    return split.without(dropped) if dropped else split


def reopen_split(
    request: Request, data_root: Path, *, fingerprint: str, dropped: Collection[str] = ()
) -> tuple[Dataset, Split]:
    """Dataset and split of a stored run, in the order of its scores.

    Raises DataError if the images are missing or differ from those of the run.
    """
    request = locate_folder(request, data_root)
    kind = DATASETS.get(request.dataset)
    known = names(kind.Settings)
    own = [each for each in request.assignments if given([each]).keys() <= {*known}]
    dataset = kind(data_root, assign([kind.Settings()], own)[0])
    split = apply_request(dataset.split(request.split), request, dropped)
    check_fingerprint(split, fingerprint)
    return dataset, split


def locate_folder(request: Request, data_root: Path, remembered: Path | None = None) -> Request:
    """A stored request of dataset ``folder`` with the folder of its images: ``data_root``, or the ``remembered`` one.

    Raises DataError if neither holds a folder of sketches.
    """
    if request.dataset != "folder" or "root" in given(request.assignments):
        return request
    for root in filter(None, (data_root, remembered)):
        if any((root / name).is_dir() for name in SKETCHES):
            return replace(request, assignments=(*request.assignments, f"root={root}"))
    what = f"{remembered}, which is gone" if remembered else "a folder of your own"
    raise DataError(f"The images of the run are in {what}, and not in {data_root}: pass their folder as --data-root.")


def remember_folder(dataset: Dataset, split: Split, cache_dir: Path) -> None:
    """Keep the path of a user's own folder in the cache, since the database has no paths."""
    if dataset.name == "folder":
        file = cache_dir / "folders" / split.fingerprint
        with suppress(OSError):  # only a convenience
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(os.fsencode(Path(dataset.settings.root).expanduser().absolute()))


def remembered_folder(fingerprint: str, cache_dir: Path) -> Path | None:
    """The folder of the images with this fingerprint, when this machine has seen them."""
    with suppress(OSError):
        return Path(os.fsdecode((cache_dir / "folders" / fingerprint).read_bytes()))
    return None


def check_fingerprint(split: Split, fingerprint: str) -> None:
    """Raise DataError unless the split has this fingerprint."""
    if split.fingerprint != fingerprint:
        raise DataError(
            f"The images of dataset {split.dataset!r} are not those of the run (fingerprint "
            f"{split.fingerprint[:12]} instead of {fingerprint[:12]}): pass the folder of the run with --data-root."
        )
