"""Options that several commands share, declared once: what ``bench run`` and ``bench ablate`` take alike."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Precision(StrEnum):
    """Number format of the forward pass."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


Datasets = Annotated[list[str], typer.Option("-d", "--dataset", help="Dataset; may be repeated.")]
Split = Annotated[str | None, typer.Option(help="Frozen class split.", show_default="the dataset's")]
Seed = Annotated[list[int] | None, typer.Option(help="Seed; may be repeated.", show_default="0")]
Seeds = Annotated[int | None, typer.Option(min=1, help="Seeds 0 to N-1.")]
Without = Annotated[list[str] | None, typer.Option(help="Drop a loss term; may be repeated.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting; may be repeated.")
]
BackboneName = Annotated[str | None, typer.Option(help="Network, by timm's name.")]
Weights = Annotated[str | None, typer.Option(help="Backbone weights: a file, or none.")]
ImageSize = Annotated[int | None, typer.Option(min=32, help="Side of the square, pixels.")]
Epochs = Annotated[float | None, typer.Option(help="Passes over the training images.")]
BatchSize = Annotated[int | None, typer.Option(min=4, help="Images a batch, half of them sketches.")]
Lr = Annotated[float | None, typer.Option(help="Highest learning rate of the backbone.")]
Select = Annotated[
    str, typer.Option(help="Whose network is kept: last, seen-validation or oracle (looks at the test, marked).")
]
Gallery = Annotated[str, typer.Option(help="Photos to rank: unseen, or all (generalized: seen classes too).")]
OnBadImage = Annotated[str, typer.Option(help="A broken picture: error, or drop (listed, another fingerprint).")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that decode images.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
PrecisionOption = Annotated[Precision, typer.Option(help="Number format of the forward pass.")]
Limit = Annotated[int | None, typer.Option(min=1, help="N images per class: a smoke run, left out of reports.")]
SaveTopk = Annotated[int, typer.Option(min=0, help="Best photos of every query that are stored.")]
Force = Annotated[bool, typer.Option(help="Run again what is done; the old run is kept, superseded.")]
Resume = Annotated[bool, typer.Option("--resume/--no-resume", help="Go on with a training that was interrupted.")]
KeepGoing = Annotated[bool, typer.Option("--keep-going/--fail-fast", help="Go on after a failed cell.")]
DryRun = Annotated[bool, typer.Option(help="Only say what would run, and what is done; writes nothing.")]
