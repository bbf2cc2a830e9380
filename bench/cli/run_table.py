"""How runs and experiments are named, and stored runs printed, in tables and in JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from bench.cli.output import number_or_none, print_json, print_rows
from bench.evaluation.metrics.base import main_metrics
from bench.generalized import mark_of
from bench.io import facts_of
from bench.results.models import RunRecord
from bench.results.store import STALE_SECONDS

METRIC = "mAP@all:plain"  # of a list of runs
STATUSES = ("queued", "running", "done", "failed", "interrupted", "pruned", "superseded")
Done = tuple[RunRecord, bool]  # a run, and whether it was stored before


def make_row(run: RunRecord, sign: tuple[float, str] | None, networks: Mapping[str, str]) -> dict[str, Any]:
    """A run as a row. ``sign``: seconds since the last heartbeat of its process, and what it was doing.

    ``networks`` are those of ``find_networks``.
    """
    epoch = run.environment.get("epoch") if run.selection != "last" else run.configuration.get("run", {}).get("epochs")
    marks = mark_of(run.gallery) + ["smoke"] * (run.per_class_limit is not None)
    return {
        "run": run.id,
        "status": run.status,
        "title": " ".join([run.title, *(f"({mark})" for mark in marks)]),
        **_columns(run, "method", "ablation", "dataset", "split", "seed", "selection", "gallery"),
        "limit": run.per_class_limit,
        "map_all": number_or_none(run.value(METRIC)),
        **({"acc_1": number_or_none(run.value("acc@1"))} if run.relevance == "instance" else {}),
        **_columns(run, "started", "ended"),
        "seconds": round(sum(run.seconds.values()), 2),
        "seconds_since_heartbeat": None if sign is None else round(sign[0], 1),
        "network": networks.get(run.environment.get("network", "-")),
        "epoch": float(epoch) if epoch and run.seconds.get("training") else None,
        "job": run.environment.get("job"),
        "log": run.environment.get("log"),
        "note": describe_state(run, sign),
    }


def describe_state(run: RunRecord, sign: tuple[float, str] | None) -> str:
    """Progress and last heartbeat of a run, why it failed, and the log of its job; empty if it is done."""
    note = run.failure
    if run.status == "running" and sign is None:
        note = "its process has ended"
    elif sign is not None and run.status == "running":
        silent, doing = sign
        age = f"{silent:.0f} s ago" if silent < STALE_SECONDS else f"{duration(silent)} ago, taken for dead"
        note = f"{doing or 'starting'}, {age}"
    elif run.status == "queued":
        note = f"waits as job {run.environment.get('job')}"
    log = run.environment.get("log", "")
    return f"{note} (log {log})".strip() if log and run.status not in ("done", "superseded") else note


def duration(seconds: float) -> str:
    """Seconds in the largest unit that fits: ``90 s``, ``12 min``, ``5 h``, ``3 days``."""
    for unit, size, least in (("days", 86_400, 2 * 86_400), ("h", 3600, 2 * 3600), ("min", 60, 120)):
        if seconds >= least:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def find_networks(cache_dir: Path) -> dict[str, str]:
    """The trained networks in the cache: path by the first 16 digits of their hash."""
    facts = {str(path): facts_of(path) or {} for path in sorted((cache_dir / "networks").glob("*.safetensors"))}
    return {str(each.get("network", ""))[:16]: path for path, each in facts.items()}


def make_page(run: RunRecord, sign: tuple[float, str] | None, networks: Mapping[str, str]) -> dict[str, Any]:
    """Everything that is stored of a run except scores and details."""
    facts = {**make_row(run, sign, networks), **_columns(run, "key", "fingerprint", "request", "configuration")}
    environment = {name.replace(" ", "_").replace("-", "_"): value for name, value in run.environment.items()}
    return {**facts, "environment": environment, "seconds_by_part": run.seconds, "cost": run.cost}


def make_scores(run: RunRecord) -> list[dict[str, Any]]:
    """The scores of a run."""
    return [{**asdict(score), "value": number_or_none(score.value)} for score in run.scores]


def show_runs(done: list[Done], format: str, jobs: Sequence[Mapping[str, Any]] = ()) -> None:
    """Print the results of runs, and jobs that a cluster has queued."""
    if format == "json":
        print_json({"runs": [make_json(run, already) for run, already in done], **({"jobs": jobs} if jobs else {})})
        return
    if jobs:
        print_rows("jobs", jobs)
    if not done:
        return
    rows = []
    metrics = dict.fromkeys(metric for run, _ in done for metric in main_metrics(run.relevance))
    for run, _ in done:
        figures = {name.removesuffix(":k"): number_or_none(run.value(name)) for name in metrics}
        row = {"run": run.id or None, "method": run.title, "split": run.split, "seed": run.seed, **figures}
        rows.append({**row, "seconds": round(sum(run.seconds.values()))})
    print_rows("runs", rows, digits=3)
    skipped = max((score.skipped for run, _ in done for score in run.scores), default=0)
    if skipped and sys.stderr.isatty():
        typer.echo(f"{skipped} queries have no relevant photo and are left out of the means.", err=True)


def make_json(run: RunRecord, already_done: bool) -> dict[str, Any]:
    """A run as the JSON of ``bench run`` (docs/commands.md)."""
    return {
        "run": run.id or None,
        **_columns(run, "method", "ablation", "dataset", "split", "seed", "selection", "gallery"),
        "post": run.configuration.get("post", {}),
        **({"warning": run.warning} if run.warning else {}),
        **({"checkpoint": kept} if (kept := run.configuration.get("checkpoint")) else {}),
        "fingerprint": run.fingerprint,
        "seconds": round(sum(run.seconds.values()), 2),
        "already_done": already_done,
        "scores": make_scores(run),
    }


def _columns(run: RunRecord, *names: str) -> dict[str, Any]:
    return {name: getattr(run, name) for name in names}
