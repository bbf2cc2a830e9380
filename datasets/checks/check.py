"""``bench data check``: compare the images on disk with the published dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bench.datasets.base import AVAILABLE, Dataset, Survey, count_by_class
from bench.datasets.checks.find_broken_images import Duplicates, ImageCheck, Progress, check_images, find_duplicates
from bench.datasets.checks.imagenet_overlap import Overlap, count_imagenet_photos, find_overlaps
from bench.datasets.published.class_splits import read_class_split
from bench.datasets.published.files import needed_for
from bench.datasets.published.published_counts import ClassCounts, class_counts, variants
from bench.datasets.published.tree_dataset import other_gallery
from bench.errors import DataError
from bench.types import MODALITIES, Split

SHOWN = 3  # names in a sentence


@dataclass(frozen=True)
class ClassRow:
    """Image counts of one class, on disk and published; None where no count is published.

    ``side`` is ``seen`` or ``unseen``, empty if the split cannot be loaded. ``published_photos`` counts the gallery
    ``unique`` if that matches the disk, else the gallery ``full``.
    """

    class_name: str
    side: str
    sketches: int
    photos: int
    published_sketches: int | None
    published_photos: int | None

    @property
    def differs(self) -> bool:
        """Whether a count on disk differs from its published count."""
        return (self.published_sketches not in (None, self.sketches)) or (
            self.published_photos not in (None, self.photos)
        )


@dataclass(frozen=True)
class Findings:
    """The result of ``check``: ``problems`` make the split unusable (exit 3), ``remarks`` do not.

    ``split`` is None if it cannot be loaded. ``images`` and ``duplicates`` are None without the deep check.
    """

    survey: Survey
    split: Split | None
    classes: tuple[ClassRow, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    overlaps: tuple[Overlap, ...] = ()
    photos_from_imagenet: int = 0
    images: ImageCheck | None = None
    duplicates: Duplicates | None = None


def check(
    dataset: Dataset,
    split_name: str | None = None,
    *,
    deep: bool = False,
    workers: int = 2,
    progress: Progress | None = None,
) -> Findings:
    """Check a dataset; raises DataError only when it is missing.

    ``deep`` reads, decodes and hashes every file of the split on ``workers`` threads.
    """
    survey = dataset.survey()
    problems: list[str] = []
    split: Split | None = None
    try:
        split = dataset.split(split_name)
    except DataError as error:
        problems.append(str(error))
    absent = [
        f"{len(names)} {'class has' if len(names) == 1 else 'classes have'} no {modality} on disk ({_some(names)})"
        for modality in MODALITIES
        if (names := [name for each, name in survey.missing if each == modality])
    ]
    subset = split is not None and f":{AVAILABLE}" in split.name
    problems += [] if subset else absent
    rows = tuple(_class_rows(dataset.name, survey, split))
    remarks = [
        *(absent if subset else []),
        *_report_ignored(survey),
        *_report_totals(dataset.name, survey),
        *_report_differences(rows),
    ]
    if split is None:
        return Findings(survey, None, rows, tuple(problems), tuple(remarks))
    remarks += [*_report_split(split), *_report_case_twins(split)]
    images, duplicates = None, None
    if deep:
        items = (*split.queries, *split.gallery, *split.train, *split.validation)
        images = check_images(dataset, items, workers, progress)
        duplicates = find_duplicates(split, images.digests)
        problems += list(images.broken.values())
        remarks += list(_report_duplicates(duplicates))
    return Findings(
        survey=survey,
        split=split,
        classes=rows,
        problems=tuple(problems),
        remarks=tuple(remarks),
        overlaps=find_overlaps(dataset.name, split.unseen),
        photos_from_imagenet=count_imagenet_photos(split.gallery),
        images=images,
        duplicates=duplicates,
    )


def _class_rows(dataset: str, survey: Survey, split: Split | None) -> Iterator[ClassRow]:
    """One row for every class on disk or published, in code-point order."""
    published = class_counts(dataset)
    unseen = set(split.unseen) if split else set()
    names = sorted({*published, *survey.counts["sketch"], *survey.counts["photo"]})
    for name in names:
        known = published.get(name, ClassCounts(None, None, None))
        photos = survey.counts["photo"].get(name, 0)
        unique, full = known.gallery("unique"), known.gallery("full")
        yield ClassRow(
            class_name=name,
            side="" if split is None else "unseen" if name in unseen else "seen",
            sketches=survey.counts["sketch"].get(name, 0),
            photos=photos,
            published_sketches=known.sketches,
            published_photos=unique if photos == unique else full,
        )


def _report_ignored(survey: Survey) -> Iterator[str]:
    if survey.foreign:
        yield f"ignored folders that are no class of this dataset: {len(survey.foreign)} ({_some(survey.foreign)})"
    if survey.stray:
        needed = needed_for(survey.stray)
        yield f"ignored entries that are no image of a class: {len(survey.stray)} ({_some(survey.stray)}{needed})"


def _report_totals(dataset: str, survey: Survey) -> Iterator[str]:
    for modality in MODALITIES:
        known = [each for each in variants(dataset) if each.modality == modality]
        total = survey.total(modality)
        match = next((each for each in known if each.count == total), None)
        plural = "sketches" if modality == "sketch" else "photos"
        if match is not None:
            yield f"{total:,} {plural} are {match.name}"
        elif known:
            counts = ", ".join(f"{each.count:,} ({each.name})" for each in known)
            yield f"{total:,} {plural} match no known copy; known copies: {counts}"


def _report_differences(rows: Iterable[ClassRow]) -> Iterator[str]:
    differing = [row for row in rows if row.differs]
    if differing:
        shown = _some(
            f"{row.class_name}: {row.sketches} sketches of {_or_unknown(row.published_sketches)}, "
            f"{row.photos} photos of {_or_unknown(row.published_photos)}"
            for row in differing
        )
        yield f"classes that differ from the published counts: {len(differing)} ({shown})"


def _report_split(split: Split) -> Iterator[str]:
    if not class_counts(split.dataset) or ":" in split.name:  # a variant of a published split
        return
    classes = read_class_split(split.name)
    published = classes.published
    if split.gallery_name != classes.gallery_name:
        yield other_gallery(classes, split.gallery_name)
    train = {modality: sum(found.values()) for modality, found in count_by_class(split.train).items()}
    found = {
        "queries": (len(split.queries), "queries"),
        f"gallery_{split.gallery_name}": (len(split.gallery), f"photos in the gallery '{split.gallery_name}'"),
        "train_sketches": (train["sketch"], "training sketches"),
        f"train_photos_{split.gallery_name}": (train["photo"], "training photos"),
        "validation_sketches": (len(split.validation), "validation sketches"),
    }
    for title, (count, words) in found.items():
        if title in published and published[title] != count:
            yield f"{count:,} {words}, but {published[title]:,} are published"


def _report_case_twins(split: Split) -> Iterator[str]:
    lower: dict[str, str] = {}
    items = (*split.train, *split.validation, *split.queries, *split.gallery)
    twins = [
        (lower[key], item.path)
        for item in items
        if lower.setdefault(key := item.path.casefold(), item.path) != item.path
    ]
    if twins:
        yield f"files whose names differ only by case: {len(twins)} ({_some(f'{a} and {b}' for a, b in twins)})"


def _report_duplicates(found: Duplicates) -> Iterator[str]:
    for groups, words in (
        (found.seen_and_unseen, "images of both seen and unseen classes"),
        (found.gallery_and_training, "gallery photos that are also training images"),
        (found.inside_gallery, "gallery photos with a duplicate in the gallery"),
    ):
        if groups:
            yield f"{words} (same content): {len(groups)} ({_some(' = '.join(group) for group in groups)})"


def _or_unknown(count: int | None) -> str:
    return "unknown" if count is None else str(count)


def _some(names: Iterable[str]) -> str:
    shown = list(names)
    return "; ".join(shown[:SHOWN]) + ("; ..." if len(shown) > SHOWN else "")
