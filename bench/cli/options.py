"""What ``bench run`` and ``bench ablate`` take alike: every shared option, declared once, with its default."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Annotated, Any

import typer

from bench.cli.output import OutputFormat


class Precision(StrEnum):
    """Number format of the forward pass."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


Workers = Annotated[int, typer.Option(min=0, help="Processes that decode images.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The shared options; the annotation of a field is what the help shows."""

    dataset: Annotated[list[str], typer.Option("-d", "--dataset", help="Dataset; may be repeated.")] = field(
        default_factory=lambda: ["emoji"]
    )
    split: Annotated[str | None, typer.Option(help="Frozen class split.", show_default="the dataset's")] = None
    seed: Annotated[list[int] | None, typer.Option(min=0, help="Seed; may be repeated.", show_default="0")] = None
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 0 to N-1.")] = None
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting; may be repeated.")
    ] = None
    backbone: Annotated[str | None, typer.Option(help="Network, by timm's name.", show_default="the dataset's")] = None
    weights: Annotated[
        str | None, typer.Option(help="Backbone weights: a file, or none.", show_default="ImageNet's on this machine")
    ] = None
    image_size: Annotated[int | None, typer.Option(min=32, help="Side of the square, pixels.")] = None
    epochs: Annotated[float | None, typer.Option(help="Passes over the training images.")] = None
    batch_size: Annotated[int | None, typer.Option(min=4, help="Images a batch, half of them sketches.")] = None
    lr: Annotated[float | None, typer.Option(help="Highest learning rate of the backbone.")] = None
    select: Annotated[
        str,
        typer.Option(help="The epoch that is kept: last, seen-validation or oracle (looks at the test, marked)."),
    ] = "last"
    gallery: Annotated[str, typer.Option(help="Photos to rank: unseen, or all (generalized: seen classes too).")] = (
        "unseen"
    )
    on_bad_image: Annotated[
        str, typer.Option(help="A broken picture: error, or drop (listed, another fingerprint).")
    ] = "error"
    workers: Workers = 0
    device: Device = "auto"
    precision: Annotated[Precision, typer.Option(help="Number format of the forward pass.")] = Precision.fp32
    compile: Annotated[bool, typer.Option("--compile", help="Have torch compile the network for training.")] = False
    limit: Annotated[int | None, typer.Option(min=1, help="N images per class: a smoke run, left out of reports.")] = (
        None
    )
    save_topk: Annotated[int, typer.Option(min=0, help="Best photos of every query that are stored.")] = 10
    force: Annotated[bool, typer.Option(help="Run again what is done; the old run is kept, superseded.")] = False
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with a training that was interrupted.")
    ] = True
    keep_going: Annotated[bool, typer.Option("--keep-going/--fail-fast", help="Go on after a failed cell.")] = True
    executor: Annotated[
        str | None,
        typer.Option(help="Run each cell as a job: local (processes), or slurm.", show_default="in this one"),
    ] = None
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Jobs at once.", show_default="local: one a GPU, or one; slurm: all")
    ] = None
    job: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A parameter of the executor; may be repeated.")
    ] = None
    dry_run: Annotated[bool, typer.Option(help="Only say what would run, and what is done; writes nothing.")] = False
    format: Annotated[OutputFormat, typer.Option("--format", help="How to print.")] = OutputFormat.table


def takes_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: the command's parameter ``options`` becomes an option for each field of ``RunOptions``."""
    hints = typing.get_type_hints(command, include_extras=True)
    shared = typing.get_type_hints(RunOptions, include_extras=True)
    own = [
        each.replace(annotation=hints[each.name])
        for each in inspect.signature(command).parameters.values()
        if each.name != "options"
    ]
    added = []
    for each in fields(RunOptions):
        default: Any = each.default_factory() if callable(each.default_factory) else each.default
        parameter = inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=default)
        added.append(parameter.replace(annotation=shared[each.name]))

    @functools.wraps(command)
    def call(**values: Any) -> None:
        options = RunOptions(**{each.name: values.pop(each.name) for each in added})
        command(**values, options=options)

    # typer reads both; wraps copied those of the command, where the fields stand as one parameter.
    call.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in (*own, *added)}
    del call.__wrapped__
    return call
