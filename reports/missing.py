"""Cells that a table lacks: methods and seeds that other tables or rows have, and runs that did not finish."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from bench.models import RunRecord
from bench.postprocessing import PostProcessing
from reports.footer import ranges
from reports.source import Group, Row, Source, in_text, table_of


def absent_methods(source: Source, group: Group) -> tuple[str, ...]:
    """Methods in full that some other table has and this one has not, neither finished nor on the way."""
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
    """The command that fills a cell.

    ``like`` is a run of the same row, for what it leaves out, does otherwise or ranks by; ``told`` are
    the settings that tell the row from others of its name. Settings that all rows share are not repeated.
    """
    first = group.first
    parts = like.ablation.split(" and ") if like is not None and like.ablation else []
    left_out = [part.removeprefix("without ") for part in parts if part.startswith("without ")]
    structural = len(left_out) < len(parts)  # `bench run` has no option for these
    words = [f"bench {'ablate' if structural else 'run'} -m {method} -d {first.dataset} --split {first.split}"]
    words += ["--structural"] * structural + [f"--seed {seed}" for seed in seeds]
    words += [f"--without {term}" for term in left_out]
    words += [f"--set {shlex.quote(f'{key}={in_text(value)}')}" for key, value in told]
    if like is not None:
        words += [f"--set {key}={in_text(value)}" for key, value in post_settings(like)]
        if like.selection != "last":
            words.append(f"--select {like.selection}")
    if first.gallery != "unseen":
        words.append(f"--gallery {first.gallery}")
    if first.per_class_limit is not None:
        words.append(f"--limit {first.per_class_limit}")
    return " ".join(words)


def post_settings(run: RunRecord) -> list[tuple[str, object]]:
    """What follows the embedding in a run and is not the default: codes, re-ranking, another distance."""
    usual = asdict(PostProcessing())
    return [(key, value) for key, value in run.configuration.get("post", {}).items() if usual.get(key) != value]
