"""Options that several commands share; those of ``bench run`` and ``bench ablate`` are fields of one class."""

from __future__ import annotations

import copy
import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.models import OptionInfo

from bench.cli.output import Format
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.settings.request import Request


SETTINGS = ("backbone", "weights", "image_size", "epochs", "batch_size", "lr")  # settings with an option of their own

# The panels of the help, by the first option of each.
PANELS = {
    "method": "What to run",
    "recipe": "Training",
    "select": "Evaluation",
    "workers": "Machine",
    "executor": "Jobs",
    "dry_run": "Output",
}
LARGEST = 2**63 - 1  # integer of a database
Many = list[str] | None
Workers = Annotated[int, typer.Option(min=0, help="Processes that decode images.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
SplitName = Annotated[str | None, typer.Option("--split", help="Class split.", show_default="the dataset's")]
DatasetSettings = Annotated[
    Many, typer.Option("--set", metavar="KEY=VALUE", help="Dataset setting such as root=PATH; repeatable.")
]
RunNumber = Annotated[int, typer.Argument(metavar="RUN", help="Number of a stored run, see `bench list runs`.")]
Weights = Annotated[Path | None, typer.Option(metavar="FILE", help="Backbone weights file of the run.")]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options that ``run`` and ``ablate`` share; the annotation of a field is its help, ``PANELS`` its panel."""

    dataset: Annotated[Many, typer.Option("-d", "--dataset", help="Dataset; repeatable.", show_default="emoji")] = None
    split: SplitName = None
    available_classes: Annotated[
        bool, typer.Option("--available-classes", help="Only the classes on disk; tables mark the subset.")
    ] = False
    seed: Annotated[list[int] | None, typer.Option(min=0, max=LARGEST, help="Seed; repeatable.", show_default="0")] = (
        None
    )
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 0 to N-1.")] = None
    assignments: Annotated[Many, typer.Option("--set", metavar="KEY=VALUE", help="Any setting; repeatable.")] = None
    recipe: Annotated[
        str | None,
        typer.Option(help="Named settings of the method, see `bench list methods`; --set changes single ones."),
    ] = None
    backbone: Annotated[str | None, typer.Option(help="Network, by timm's name.", show_default="the dataset's")] = None
    weights: Annotated[
        str | None, typer.Option(help="Backbone weights: a file, or none.", show_default="ImageNet's")
    ] = None
    image_size: Annotated[int | None, typer.Option(min=32, help="Side of the square, pixels.")] = None
    epochs: Annotated[float | None, typer.Option(help="Passes over the training images.")] = None
    batch_size: Annotated[int | None, typer.Option(min=4, help="Batch size: half sketches, half photos.")] = None
    lr: Annotated[float | None, typer.Option(help="Highest learning rate of the backbone.")] = None
    precision: Annotated[Literal["fp32", "bf16", "fp16"], typer.Option(help="Number format of the forward pass.")] = (
        "fp32"
    )
    compile: Annotated[bool, typer.Option("--compile", help="Train with torch.compile.")] = False
    select: Annotated[str, typer.Option(help="Epoch to keep: last, seen-validation or oracle (test classes).")] = "last"
    gallery: Annotated[
        str, typer.Option(help="unseen; generalized: all, sem-pcyc, ocean, dr-clip, all-seen or amf.")
    ] = "unseen"
    on_bad_image: Annotated[str, typer.Option(help="Unreadable image: error, or drop (changes fingerprint).")] = "error"
    limit: Annotated[
        int | None, typer.Option(min=1, max=LARGEST, help="N images per class: a smoke test, not reported.")
    ] = None
    save_topk: Annotated[int, typer.Option(min=0, help="Best photos of each query to store.")] = 10
    workers: Workers = 0
    device: Device = "auto"
    force: Annotated[bool, typer.Option(help="Run again what is stored; the old run is kept, superseded.")] = False
    resume: Annotated[bool, typer.Option("--resume/--no-resume", help="Resume an interrupted training.")] = True
    keep_going: Annotated[bool, typer.Option("--keep-going/--fail-fast", help="Continue after a failed run.")] = True
    executor: Annotated[
        str | None, typer.Option(help="Run as jobs: local (processes) or slurm.", show_default="this process")
    ] = None
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Jobs at once.", show_default="local: one per GPU, or one; slurm: all")
    ] = None
    job: Annotated[Many, typer.Option(metavar="KEY=VALUE", help="Parameter of the executor; repeatable.")] = None
    log: Annotated[
        Many, typer.Option(metavar="NAME[:PLACE]", help="Live curves: tensorboard[:DIR] or mlflow[:URI]; repeatable.")
    ] = None
    dry_run: Annotated[bool, typer.Option(help="Print what would run; write nothing.")] = False
    format: Format = "table"

    @property
    def chosen_datasets(self) -> list[str]:
        """The datasets of ``-d``."""
        return self.dataset or ["emoji"]

    @property
    def chosen_seeds(self) -> list[int]:
        """The seeds of ``--seed`` or of ``--seeds``; raises UsageError for both."""
        if self.seed and self.seeds:
            raise UsageError("Give either --seed or --seeds, not both.")
        return list(range(self.seeds)) if self.seeds else list(dict.fromkeys(self.seed or [0]))

    def make_request(self, method: str, dataset: str, seed: int, without: Sequence[str], **more: str) -> Request:
        """The request of one run; raises UsageError for a setting that is given twice."""
        from bench.datasets.base import AVAILABLE, DATASETS
        from bench.settings.request import Request

        split = self.split
        if self.available_classes:
            split = f"{split or DATASETS.get(dataset).split_names[0]}:{AVAILABLE}"
        named = [f"{name}={value}" for name in SETTINGS if (value := getattr(self, name)) is not None]
        assignments = (*named, *(self.assignments or ()))
        refuse_repeated(assignments)
        if self.recipe is not None:
            from bench.experiments.recipes import with_recipe_named

            assignments = with_recipe_named(method, self.recipe, assignments)
        return Request(
            method=method,
            dataset=dataset,
            split=split,
            seed=seed,
            without=tuple(without),
            assignments=assignments,
            selection=self.select,
            gallery=self.gallery,
            per_class_limit=self.limit,
            on_bad_image=self.on_bad_image,
            precision=self.precision,
            **more,
        )


def refuse_repeated(assignments: Sequence[str]) -> None:
    """Raise UsageError if two ``key=value`` texts have one key."""
    keys = [each.partition("=")[0].strip().replace("-", "_") for each in assignments]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"Setting {key!r} is given twice, by --set or its own option: leave one out.")


def takes_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: each field of ``RunOptions`` becomes an option, and ``options`` gets all of them."""
    hints = typing.get_type_hints(command, include_extras=True)
    shared = typing.get_type_hints(RunOptions, include_extras=True)
    own = [each for each in inspect.signature(command).parameters.values() if each.name != "options"]
    panel, parameters = "", []
    for each in (*own, *inspect.signature(RunOptions).parameters.values()):
        annotation, panel = (hints | shared)[each.name], PANELS.get(each.name, panel)
        if isinstance(option := (typing.get_args(annotation) or (None,))[-1], OptionInfo):
            option = copy.copy(option)
            option.rich_help_panel = panel
            annotation = Annotated[typing.get_args(annotation)[0], option]
        parameters.append(each.replace(annotation=annotation))

    @functools.wraps(command)
    def call(**values: Any) -> None:
        command(options=RunOptions(**{name: values.pop(name) for name in shared}), **values)

    # typer reads both; functools.wraps copied those of the command.
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    del call.__wrapped__
    return call
