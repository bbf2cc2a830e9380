"""How ``bench data check`` prints its findings."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from bench.cli.output import print_table

if TYPE_CHECKING:
    from bench.datasets.base import Dataset
    from bench.datasets.checks.check import Findings
    from bench.types import Split

SHOWN = 20  # rows and sentences before a list is cut; JSON has all


def summary(split: Split) -> dict[str, Any]:
    """What identifies a split, and its sizes."""
    return {
        "dataset": split.dataset,
        "split": split.name,
        "gallery_name": split.gallery_name,
        "fingerprint": split.fingerprint,
        "counts": {role: len(getattr(split, role)) for role in ("train", "validation", "queries", "gallery")},
    }


def as_json(dataset: Dataset, found: Findings) -> dict[str, Any]:
    """All findings, classes one by one."""
    where = dataset.whereabouts()
    split, deep = found.split, found.images
    return {
        "dataset": dataset.name,
        "root": str(where.root) if where.root else None,
        "layout": where.layout,
        **({} if split is None else summary(split)),
        "problems": list(found.problems),
        "remarks": list(found.remarks),
        "totals": {"sketch": found.survey.total("sketch"), "photo": found.survey.total("photo")},
        "classes": [{**asdict(row), "differs": row.differs} for row in found.classes],
        "foreign_folders": list(found.survey.foreign),
        "stray_files": list(found.survey.stray),
        "imagenet_overlap": [asdict(each) for each in found.overlaps],
        "gallery_photos_from_imagenet": found.photos_from_imagenet,
        "deep": None if deep is None else {"broken": dict(deep.broken), "hashed": len(deep.digests)},
        "repeats": None if found.duplicates is None else asdict(found.duplicates),
    }


def print_findings(dataset: Dataset, found: Findings) -> None:
    """The findings for people: the summary, what is wrong, what differs."""
    where = dataset.whereabouts()
    typer.echo(
        f"dataset      {dataset.name}: {where.root or where.layout}" + (f", layout {where.layout}" * bool(where.root))
    )
    typer.echo(f"on disk      {found.survey.total('sketch'):,} sketches, {found.survey.total('photo'):,} photos")
    split = found.split
    if split is not None:
        typer.echo(
            f"split        {split.name}, gallery {split.gallery_name}: {len(split.unseen)} unseen classes and "
            f"{len(split.seen)} seen, disjoint\n"
            f"images       {len(split.queries):,} queries, {len(split.gallery):,} gallery, {len(split.train):,} train, "
            f"{len(split.validation):,} validation\n"
            f"fingerprint  {split.fingerprint}"
        )
        names = list(dict.fromkeys(each.class_name for each in found.overlaps))
        if names:
            typer.echo(
                f"ImageNet-1k  {len(names)} of {len(split.unseen)} unseen classes are known to overlap "
                f"({', '.join(names)}); {found.photos_from_imagenet:,} gallery photos are named after one of them"
            )
    if found.images is None:
        typer.echo("opened       no image: --deep looks for unreadable and repeated ones")
    else:
        broken = len(found.images.broken)
        opened = broken + len(found.images.digests)
        typer.echo(f"opened       {opened:,} files, {broken:,} of them unreadable")
    for title, sentences in (("problem", found.problems), ("remark", found.remarks)):
        for sentence in sentences[:SHOWN]:
            typer.echo(f"{title:<12} {sentence}")
        if len(sentences) > SHOWN:
            typer.echo(f"{title:<12} and {len(sentences) - SHOWN} more: --format json has all")
    differing = [row for row in found.classes if row.differs]
    if differing:
        print_table(
            ["class", "side", "sketches", "published", "photos", "published"],
            [
                [
                    row.class_name,
                    row.side,
                    str(row.sketches),
                    _count(row.published_sketches),
                    str(row.photos),
                    _count(row.published_photos),
                ]
                for row in differing[:SHOWN]
            ],
            title=f"{len(differing)} classes differ" + (f", the first {SHOWN}" if len(differing) > SHOWN else ""),
        )
    typer.echo("not usable" if found.problems else "usable")


def _count(count: int | None) -> str:
    return "unknown" if count is None else str(count)
