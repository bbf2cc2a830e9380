"""The findings of ``bench data check``: what lies on disk, held against what was published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bench.datasets.base import Dataset, Survey, count_by_class
from bench.datasets.checks.broken_images import Examination, Progress, Repeats, examine, repeats
from bench.datasets.checks.imagenet_overlap import Overlap, overlaps, photos_from_imagenet
from bench.datasets.published.published_counts import ClassCounts, class_counts, variants
from bench.datasets.published.split_lists import read_class_split
from bench.datasets.published.tree_dataset import other_gallery
from bench.errors import DataError
from bench.types import Modality, Split

MODALITIES: tuple[Modality, ...] = ("sketch", "photo")
SHOWN = 3  # names in a sentence


@dataclass(frozen=True)
class ClassRow:
    """One class on disk: images found and published; None where nothing is published.

    ``side`` is ``seen`` or ``unseen``; empty where the split cannot be loaded. ``published_photos`` is the count of
    the gallery that matches the one found, repeated photos included.
    """

    class_name: str
    side: str
    sketches: int
    photos: int
    published_sketches: int | None
    published_photos: int | None

    @property
    def differs(self) -> bool:
        """Whether a published count is known and another was found."""
        return (self.published_sketches not in (None, self.sketches)) or (
            self.published_photos not in (None, self.photos)
        )


@dataclass(frozen=True)
class Findings:
    """``problems`` keep the split from being what it claims (exit 3); ``remarks`` are worth knowing.

    ``split`` is None where it cannot be loaded. ``examination`` and ``repeats`` are None without the deep check.
    """

    survey: Survey
    split: Split | None
    classes: tuple[ClassRow, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    overlaps: tuple[Overlap, ...] = ()
    photos_from_imagenet: int = 0
    examination: Examination | None = None
    repeats: Repeats | None = field(default=None)


def check(
    dataset: Dataset,
    split_name: str | None = None,
    *,
    deep: bool = False,
    workers: int = 2,
    progress: Progress | None = None,
) -> Findings:
    """Everything that can be said about a dataset; raises DataError only when it is not there at all.

    ``deep`` reads, decodes and hashes every file of the split on ``workers`` threads.
    """
    survey = dataset.survey()
    problems: list[str] = []
    split: Split | None = None
    try:
        split = dataset.split(split_name)
    except DataError as error:
        problems.append(str(error))
    problems += [
        f"{len(names)} {'class has' if len(names) == 1 else 'classes have'} no {modality} on disk ({_some(names)})"
        for modality in MODALITIES
        if (names := [name for each, name in survey.missing if each == modality])
    ]
    rows = tuple(class_rows(dataset.name, survey, split))
    remarks = [*_left_out(survey), *_totals(dataset.name, survey), *_differing(rows)]
    if split is None:
        return Findings(survey, None, rows, tuple(problems), tuple(remarks))
    remarks += [*_against_publication(split), *_twins(split)]
    examination, again = None, None
    if deep:
        items = (*split.queries, *split.gallery, *split.train, *split.validation)
        examination = examine(dataset, items, workers, progress)
        again = repeats(split, examination.digests)
        problems += list(examination.broken.values())
        remarks += list(_repeated(again))
    return Findings(
        survey=survey,
        split=split,
        classes=rows,
        problems=tuple(problems),
        remarks=tuple(remarks),
        overlaps=overlaps(dataset.name, split.unseen),
        photos_from_imagenet=photos_from_imagenet(split.gallery),
        examination=examination,
        repeats=again,
    )


def class_rows(dataset: str, survey: Survey, split: Split | None) -> Iterator[ClassRow]:
    """One row for every class that lies on disk or should, in code-point order."""
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


def _left_out(survey: Survey) -> Iterator[str]:
    if survey.foreign:
        yield f"folders that are no class of this dataset, left out: {len(survey.foreign)} ({_some(survey.foreign)})"
    if survey.stray:
        yield f"no images of a class, left out: {len(survey.stray)} ({_some(survey.stray)})"


def _totals(dataset: str, survey: Survey) -> Iterator[str]:
    for modality in MODALITIES:
        known = [each for each in variants(dataset) if each.modality == modality]
        total = survey.total(modality)
        named = next((each for each in known if each.count == total), None)
        plural = "sketches" if modality == "sketch" else "photos"
        if named is not None:
            yield f"{total:,} {plural} are {named.name}"
        elif known:
            counts = ", ".join(f"{each.count:,} ({each.name})" for each in known)
            yield f"{total:,} {plural} are no copy known by name; known are {counts}"


def _differing(rows: Iterable[ClassRow]) -> Iterator[str]:
    differing = [row for row in rows if row.differs]
    if differing:
        shown = _some(
            f"{row.class_name}: {row.sketches} sketches of {_or_unknown(row.published_sketches)}, "
            f"{row.photos} photos of {_or_unknown(row.published_photos)}"
            for row in differing
        )
        yield f"classes that differ from the published counts: {len(differing)} ({shown})"


def _against_publication(split: Split) -> Iterator[str]:
    if not class_counts(split.dataset):
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
            yield f"{count:,} {words}, published are {published[title]:,}"


def _twins(split: Split) -> Iterator[str]:
    lower: dict[str, str] = {}
    items = (*split.train, *split.validation, *split.queries, *split.gallery)
    twins = [
        (lower[key], item.path)
        for item in items
        if lower.setdefault(key := item.path.casefold(), item.path) != item.path
    ]
    if twins:
        yield f"files that differ from another by case alone: {len(twins)} ({_some(f'{a} and {b}' for a, b in twins)})"


def _repeated(found: Repeats) -> Iterator[str]:
    for groups, words in (
        (found.seen_and_unseen, "pictures both in seen and in unseen classes"),
        (found.gallery_and_training, "gallery photos that are also trained on"),
        (found.inside_gallery, "gallery photos that are there more than once"),
    ):
        if groups:
            yield f"{words}, by content: {len(groups)} ({_some(' = '.join(group) for group in groups)})"


def _or_unknown(count: int | None) -> str:
    return "unknown" if count is None else str(count)


def _some(names: Iterable[str]) -> str:
    shown = list(names)
    return "; ".join(shown[:SHOWN]) + ("; ..." if len(shown) > SHOWN else "")
