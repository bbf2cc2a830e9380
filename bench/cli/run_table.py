"""How a stored run is told in a line or in full: ``bench list runs``, ``bench show RUN``."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from typing import Any

from bench.cli.output import OutputFormat, print_json, print_table, stderr
from bench.evaluation.metrics.base import MAIN_METRICS
from bench.results.models import RunRecord
from bench.results.store import STALE_SECONDS, Store

STATUSES = ("queued", "running", "done", "failed", "interrupted", "superseded")
METRIC = "mAP@all:plain"


def row_of(run: RunRecord, sign: tuple[float, str] | None) -> dict[str, Any]:
    """A run as a row; ``sign`` is how many seconds ago its process gave a sign of life, and what it said."""
    value = run.value(METRIC)
    return {
        "run": run.id,
        "status": run.status,
        "title": title_of(run),
        "method": run.method,
        "ablation": run.ablation,
        "dataset": run.dataset,
        "split": run.split,
        "seed": run.seed,
        "selection": run.selection,
        "gallery": run.gallery,
        "limit": run.per_class_limit,
        "mAP@all": None if value != value else round(value, 4),
        "started": run.started,
        "ended": run.ended,
        "seconds": round(sum(run.seconds.values()), 2),
        "silent": None if sign is None else round(sign[0], 1),
        "job": run.environment.get("job"),
        "log": run.environment.get("log"),
        "note": note_of(run, sign),
    }


def title_of(run: RunRecord) -> str:
    """What a run is called, with the marks of a generalized gallery and of a smoke run."""
    marks = ["(generalized)"] * (run.gallery != "unseen") + ["(smoke)"] * (run.per_class_limit is not None)
    return " ".join([run.title, *marks])


def note_of(run: RunRecord, sign: tuple[float, str] | None) -> str:
    """How far a run is and when it said so, why it failed, and where its job's log is; empty for one that is done."""
    if run.status == "running" and sign is None:
        said = "nobody computes it: its process ended"
    elif run.status == "running" and sign is not None:
        silent, doing = sign
        age = f"{silent:.0f} s ago" if silent < STALE_SECONDS else f"{duration(silent)} ago, taken for dead"
        said = f"{doing or 'starting'}, {age}"
    elif run.status == "queued":
        said = f"waits as job {run.environment.get('job')}"
    else:
        said = run.failure
    log = run.environment.get("log", "")
    return f"{said} (log {log})".strip() if log and run.status not in ("done", "superseded") else said


def duration(seconds: float) -> str:
    """Seconds in the largest unit that fits: ``90 s``, ``12 min``, ``5 h``, ``3 days``."""
    for unit, size, least in (("days", 86_400, 2 * 86_400), ("h", 3600, 2 * 3600), ("min", 60, 120)):
        if seconds >= least:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def in_full(run: RunRecord, sign: tuple[float, str] | None) -> dict[str, Any]:
    """Everything that is stored of a run but its scores and details, for JSON and for the page."""
    return {
        **row_of(run, sign),
        "key": run.key,
        "fingerprint": run.fingerprint,
        "request": dict(run.request),
        "configuration": dict(run.configuration),
        "environment": dict(run.environment),
        "seconds of each part": dict(run.seconds),
        "cost": dict(run.cost),
    }


def scores_of(record: RunRecord) -> list[dict[str, Any]]:
    """The scores of a run as objects; NaN, which JSON has not, as null."""
    return [{**asdict(score), "value": None if math.isnan(score.value) else score.value} for score in record.scores]


def show(done: list[tuple[RunRecord, bool]], format: OutputFormat, store: Store) -> None:
    """Results on stdout: a table, or JSON (an object for one run, a list for several)."""
    if not done:
        return
    if format is OutputFormat.json:
        rows = [as_json(record, already) for record, already in done]
        print_json(rows[0] if len(rows) == 1 else rows)
        return
    columns = ["run", "method", "split", "seed", *(name.removesuffix(":k") for name in MAIN_METRICS), "seconds"]
    cells = []
    for record, _ in done:
        figures = ["-" if (value := record.value(metric)) != value else f"{value:.3f}" for metric in MAIN_METRICS]
        seconds = f"{sum(record.seconds.values()):.0f}"
        cells.append([str(record.id or "-"), record.title, record.split, str(record.seed), *figures, seconds])
    print_table(columns, cells)
    if sys.stderr.isatty():
        skipped = max((score.skipped for record, _ in done for score in record.scores), default=0)
        if skipped:
            stderr().print(f"{skipped} queries have no relevant photo and are left out of the means.")


def as_json(record: RunRecord, already_done: bool) -> dict[str, Any]:
    """A run as CLI.md's contract has it."""
    return {
        "run": record.id or None,
        "method": record.method,
        "ablation": record.ablation,
        "dataset": record.dataset,
        "split": record.split,
        "seed": record.seed,
        "selection": record.selection,
        "gallery": record.gallery,
        "post": record.configuration.get("post", {}),
        **({"checkpoint": kept} if (kept := record.configuration.get("checkpoint")) else {}),
        "fingerprint": record.fingerprint,
        "seconds": round(sum(record.seconds.values()), 2),
        "already_done": already_done,
        "scores": scores_of(record),
    }
