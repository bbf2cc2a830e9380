"""How ``bench data`` prints a dataset, what was added to it, its findings and its lists."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from bench.cli.output import print_rows
from bench.errors import DataError

if TYPE_CHECKING:
    from bench.datasets.adding.add import Adding
    from bench.datasets.adding.place import Placed
    from bench.datasets.adding.recognise import Found
    from bench.datasets.base import Dataset
    from bench.datasets.checks.check import Findings
    from bench.types import Modality, Split

SHOWN = 20  # rows and sentences of a list; JSON has all
ROLES = ("queries", "gallery", "train", "validation")
TITLES: tuple[tuple[Modality, str], ...] = (("sketch", "sketches"), ("photo", "photos"))
Lines = Iterable[tuple[str, str]]  # a title and a sentence
Lists = dict[str, list[dict[str, Any]]]  # the items of each role


def summarize(split: Split) -> dict[str, Any]:
    """What identifies a split, and its sizes."""
    return {
        "dataset": split.dataset,
        "split": split.name,
        "gallery_name": split.gallery_name,
        "fingerprint": split.fingerprint,
        "counts": {role: len(getattr(split, role)) for role in ("train", "validation", "queries", "gallery")},
    }


def make_json(dataset: Dataset, found: Findings) -> dict[str, Any]:
    """All findings."""
    where, split, deep, survey = dataset.whereabouts(), found.split, found.images, found.survey
    return {
        "dataset": dataset.name,
        "root": str(where.root) if where.root else None,
        "layout": where.layout,
        **({} if split is None else summarize(split)),
        "problems": found.problems,
        "remarks": found.remarks,
        "totals": {"sketch": survey.total("sketch"), "photo": survey.total("photo")},
        "classes": [{**asdict(row), "differs": row.differs} for row in found.classes],
        "foreign_folders": survey.foreign,
        "stray_files": survey.stray,
        "imagenet_overlap": [asdict(each) for each in found.overlaps],
        "gallery_photos_from_imagenet": found.photos_from_imagenet,
        "deep": None if deep is None else {"broken": deep.broken, "hashed": len(deep.digests)},
        "repeats": None if found.duplicates is None else asdict(found.duplicates),
    }


def describe_place(dataset: Dataset) -> dict[str, Any]:
    """Where a dataset is, its number of images, what is missing, the next command, and addresses of what is missing."""
    from bench.datasets.published.tree_dataset import TreeDataset

    name, where = dataset.name, dataset.whereabouts()
    command = f"bench data add {name} SOURCE..." if isinstance(dataset, TreeDataset) else f"bench data path {name}"
    row = {
        "dataset": name,
        "root": str(where.root) if where.root else None,
        "layout": where.layout,
        "sketches": None,
        "photos": None,
        "missing": list(where.missing) or ["all images"],
        "next": command,
        "addresses": list(dataset.addresses),
    }
    if not where.layout:
        return row
    try:
        survey = dataset.survey()
    except DataError as error:
        return row | {"missing": [str(error)]}
    empty = Counter(modality for modality, _ in survey.missing)
    missing = [f"{modality} of {count} class{'es' * (count > 1)}" for modality, count in empty.items()]
    command = f"bench data check {name}" if missing else f"bench run -m ours -d {name}"
    counts = {title: survey.total(modality) for modality, title in TITLES}
    return row | counts | {"missing": missing, "next": command, "addresses": []}


def print_lines(lines: Lines) -> None:
    """Print each title with its sentence."""
    for title, sentence in lines:
        typer.echo(f"{title:<12} {sentence}")


def found_lines(adding: Adding, found: Found) -> Lines:
    """What the sources of ``bench data add`` hold, which splits it serves, and what a whole dataset still needs."""
    from bench.datasets.adding.recognise import served_splits

    dataset, layout = adding.dataset, found.layout
    yield "found", f"{dataset.name}, layout {layout.name} ({layout.source})"
    for modality, title in TITLES:
        classes = f"{len(found.classes[modality])} of {len(dataset.names.canonical)} classes now"
        yield title, f"{found.count(modality):,} files; {classes}"
    if found.lists:
        folders = dict.fromkeys(pick.target.rpartition("/")[0] for pick in found.lists)
        yield "file lists", f"{len(found.lists)} in {', '.join(folders)}"
    for split, how in served_splits(dataset, found, adding.root).items():
        yield "serves", f"{split}, by {how}"
    for folder in found.missing:
        yield "missing", f"{folder}/<class>/*"
    if found.left_out:
        yield "left out", f"{found.left_out:,} files that are no image or list of this dataset"
    for name in found.others:
        yield "also there", f"{name}: `bench data add {name} {shlex.join(adding.words)}`"


def placed_lines(adding: Adding, placed: Placed) -> Lines:
    """How many files were put where."""
    parts = {
        "copied": placed.copied,
        "there before": placed.known,
        "read through links": placed.linked,
        "read in place": placed.in_place,
    }
    done = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)
    yield "added", f"{adding.root}: {done or 'nothing'}"
    for path in adding.kept:
        yield "kept", f"{path}, {path.stat().st_size / 1e6:,.1f} MB"


def print_findings(dataset: Dataset, found: Findings) -> None:
    """Print findings: the summary, problems and remarks, classes whose counts differ."""
    print_lines(_finding_lines(dataset, found))
    differing = [asdict(row) for row in found.classes if row.differs]
    if differing:
        typer.echo(f"{len(differing)} classes differ" + f", the first {SHOWN}:" * (len(differing) > SHOWN))
        columns = ("class_name", "side", "sketches", "published_sketches", "photos", "published_photos")
        print_rows("classes", differing[:SHOWN], columns=columns)
    typer.echo("not usable" if found.problems else "usable")


def _finding_lines(dataset: Dataset, found: Findings) -> Lines:
    where, split, survey = dataset.whereabouts(), found.split, found.survey
    yield "dataset", f"{dataset.name}: {where.root or where.layout}" + f", layout {where.layout}" * bool(where.root)
    yield "on disk", f"{survey.total('sketch'):,} sketches, {survey.total('photo'):,} photos"
    if split is not None:
        sizes = f"{len(split.unseen)} unseen classes and {len(split.seen)} seen, disjoint"
        if not split.zero_shot:
            sizes = f"{len(split.unseen)} test classes, also trained on with other instances: not zero-shot"
        yield "split", f"{split.name}, gallery {split.gallery_name}: {sizes}"
        yield "images", ", ".join(f"{len(getattr(split, role)):,} {role}" for role in ROLES)
        yield "fingerprint", split.fingerprint
        if names := list(dict.fromkeys(each.class_name for each in found.overlaps)):
            known = f"{len(names)} of {len(split.unseen)} unseen classes are known to overlap ({', '.join(names)})"
            yield "ImageNet-1k", f"{known}; {found.photos_from_imagenet:,} gallery photos are named after one of them"
    if found.images is None:
        yield "opened", "no image: --deep finds unreadable and repeated ones"
    else:
        broken = len(found.images.broken)
        yield "opened", f"{broken + len(found.images.digests):,} files, {broken:,} of them unreadable"
    for title, sentences in (("problem", found.problems), ("remark", found.remarks)):
        yield from ((title, sentence) for sentence in sentences[:SHOWN])
        if len(sentences) > SHOWN:
            yield title, f"and {len(sentences) - SHOWN} more: --format json has all"


def label_items(split: Split) -> Lists:
    """The path, label and class of every image of each role, in canonical order."""
    found = {}
    for role in ROLES:
        items = getattr(split, role)
        labels = (split.test_labels if role in ("queries", "gallery") else split.train_labels)(items).tolist()
        pairs = zip(items, labels, strict=True)
        found[role] = [{"path": item.path, "label": label, "class": item.class_name} for item, label in pairs]
    return found
