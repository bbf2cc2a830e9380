"""How ``bench data add`` prints what it found and what it did."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from bench.datasets.adding.add import Adding
    from bench.datasets.adding.place import Placed
    from bench.datasets.adding.recognise import Found
    from bench.types import Modality

TITLES: tuple[tuple[Modality, str], ...] = (("sketch", "sketches"), ("photo", "photos"))


def print_found(adding: Adding, found: Found) -> None:
    """Print what the sources hold, which splits it serves, and what a whole dataset still needs."""
    from bench.datasets.adding.recognise import served_splits

    dataset, layout = adding.dataset, found.layout
    _print("found", f"{dataset.name}, layout {layout.name} ({layout.source})")
    everything = len(dataset.names.canonical)
    for modality, title in TITLES:
        classes = f"{len(found.classes[modality])} of {everything} classes now"
        _print(title, f"{found.count(modality):,} files; {classes}")
    if found.lists:
        folders = dict.fromkeys(pick.target.rpartition("/")[0] for pick in found.lists)
        _print("file lists", f"{len(found.lists)} in {', '.join(folders)}")
    for split, how in served_splits(dataset, found, adding.root).items():
        _print("serves", f"{split}, by {how}")
    for folder in found.missing:
        _print("missing", f"{folder}/<class>/*")
    if found.left_out:
        _print("left out", f"{found.left_out:,} files that are no image or list of this dataset")
    for name in found.others:
        _print("also there", f"{name}: `bench data add {name} {shlex.join(adding.words)}`")


def print_placed(adding: Adding, placed: Placed) -> None:
    """Print how many files were put where."""
    parts = {
        "copied": placed.copied,
        "there before": placed.known,
        "read through links": placed.linked,
        "read in place": placed.in_place,
    }
    done = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count)
    _print("added", f"{adding.root}: {done or 'nothing'}")
    for path in adding.kept:
        _print("kept", f"{path}, {path.stat().st_size / 1e6:,.1f} MB")


def _print(title: str, sentence: str) -> None:
    typer.echo(f"{title:<12} {sentence}")
