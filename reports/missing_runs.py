"""Cells that a table lacks: methods and seeds that other tables or rows have, and runs that did not finish."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from bench.datasets.base import DATASETS
from bench.datasets.published.split_variants import choice_of
from bench.reports.footer import ranges
from bench.reports.stored_runs import Group, Row, Source, in_text, table_of
from bench.results.models import RunRecord
from bench.settings.post_processing import PostProcessing
from bench.settings.run_settings import RunSettings, recipe_for, with_recipe

NO_SETTINGS = ("precision", "method_version")  # what tells rows apart and `--set` does not take


def absent_methods(source: Source, group: Group) -> tuple[str, ...]:
    """Methods in full that some other table has and this one has not, neither finished nor on the way.

    None where epochs were selected on the test: nobody is asked to do that.
    """
    if group.first.selection == "oracle":
        return ()
    here = {run.title for run in group.runs} | {run.title for run in unfinished(source, group)}
    return tuple(sorted(source.methods.get(group.first.per_class_limit, set()) - here))


def unfinished(source: Source, group: Group) -> list[RunRecord]:
    """Runs that belong into this table and failed, were interrupted or are being computed."""
    return [run for run in source.unfinished if table_of(run) == table_of(group.first)]


def told(source: Source) -> tuple[str, ...]:
    """A sentence for each run that did not finish, in its order."""
    return tuple(
        f"Run {run.id} ({run.title} on {run.split}, seed {run.seed}) is {run.status}{': ' * bool(run.failure)}"
        f"{run.failure.rstrip('.')}."
        for run in source.unfinished
    )


def states(runs: list[RunRecord]) -> Mapping[str, list[RunRecord]]:
    """Unfinished runs by the title of their row."""
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        found.setdefault(run.title, []).append(run)
    return found


def in_words(runs: list[RunRecord]) -> str:
    """``seed 3 failed``, ``seeds 1-2 interrupted``."""
    parts = []
    for status in sorted({run.status for run in runs}):
        seeds = sorted({run.seed for run in runs if run.status == status})
        parts.append(f"seed{'s' * (len(seeds) > 1)} {ranges(seeds)} {status}")
    return ", ".join(parts)


def missing_seeds(row: Row, group: Group) -> tuple[int, ...]:
    """Seeds that another row of the table has and this one has not."""
    every = {run.seed for run in group.runs}
    return tuple(sorted(every - {run.seed for run in row.runs}))


def command(
    group: Group,
    method: str,
    seeds: tuple[int, ...],
    like: RunRecord | None = None,
    told: Sequence[tuple[str, object]] = (),
) -> str:
    """The command that fills a cell; PATH, FILE and RUN in it are for the reader to replace.

    ``like`` is a run of the same row, for what it leaves out, does otherwise or ranks by; ``told`` are
    the settings that tell the row from others of its name. Without ``like`` the method runs as it is by default.
    """
    first = group.first
    parts = like.ablation.split(" and ") if like is not None and like.ablation else []
    left_out = [part.removeprefix("without ") for part in parts if part.startswith("without ")]
    structural = len(left_out) < len(parts)  # `bench run` has no option for these
    asked = dict(first.configuration.get("dataset", {}))
    dataset = "folder" if "name" in asked else first.dataset  # a user's own has a name that no registry knows
    scored_only = like is not None and "checkpoint" in like.configuration  # as it was trained, whatever was asked then
    if scored_only:
        words = [f"bench run --checkpoint RUN -d {dataset} --split {first.split}"]
    else:
        words = [f"bench {'ablate' if structural else 'run'} -m {method} -d {dataset} --split {first.split}"]
        words += ["--structural"] * structural + [f"--seed {seed}" for seed in seeds]
        words += [f"--without {term}" for term in left_out]
    settings = {"root": "PATH", **choice_of(first.split, ("@FILE",))} if dataset == "folder" else {}
    settings |= _unusual(dataset, asked)
    if like is not None and scored_only:
        settings |= _unusual(dataset, like.configuration.get("post", {}))
    elif like is not None:
        settings |= _of_run(dataset, like, told)
    words += [f"--set {shlex.quote(f'{key}={_or_file(value)}')}" for key, value in settings.items()]
    if like is not None and like.configuration.get("precision", "fp32") != "fp32":
        words.append(f"--precision {like.configuration['precision']}")
    if like is not None and like.selection != "last" and not scored_only:
        words.append(f"--select {like.selection}")
    if first.gallery != "unseen":
        words.append(f"--gallery {first.gallery}")
    if first.per_class_limit is not None:
        words.append(f"--limit {first.per_class_limit}")
    return " ".join(words)


def _of_run(dataset: str, run: RunRecord, told: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Settings of a run that it has not by default. Of its method's own, whose defaults would need torch, those that
    tell its row from others and those that its call gave."""
    own, common = run.configuration.get("method", {}), run.configuration.get("run", {})
    given = re.findall(r"--set[= ]'?([\w-]+)=", str(run.environment.get("command", "")))
    called = {key: own[key] for name in given if (key := name.replace("-", "_")) in own}
    usual = _usual(dataset, common.get("backbone"))
    apart = {key: value for key, value in told if key not in NO_SETTINGS and usual.get(key) != value}
    return {**_unusual(dataset, common), **called, **apart, **_unusual(dataset, run.configuration.get("post", {}))}


def _unusual(dataset: str, settings: Mapping[str, Any]) -> dict[str, object]:
    """Those of the ``settings`` that a run on this dataset has not without being told."""
    usual = _usual(dataset, settings.get("backbone"))
    return {key: value for key, value in settings.items() if key in usual and usual[key] != value}


@cache
def _usual(dataset: str, backbone: str | None) -> Mapping[str, Any]:
    """What a run on a dataset (with this backbone), the dataset and what follows the embedding are set to by default.

    Of another package's dataset the last alone: to look it up is to import all that datasets import, torch too.
    """
    kind, after = DATASETS.peek(dataset), asdict(PostProcessing())
    if kind is None:
        return after
    return asdict(with_recipe(RunSettings(), recipe_for(kind.recipe, backbone))) | asdict(kind.Settings()) | after


def _or_file(value: object) -> str:
    """A setting as text; a file is known by its hash alone."""
    return "FILE" if str(value).startswith("sha256:") else in_text(value)
