"""``--dry-run``: what would be run, what is done, and what it takes."""

from __future__ import annotations

from bench.cli.common import OutputFormat, print_json, print_table, stderr
from bench.experiment import Experiment
from bench.models import RunRecord
from bench.store import existing


def title(experiment: Experiment) -> str:
    """What a cell is called on the screen."""
    words = [experiment.method.name, experiment.ablation, experiment.post.title]
    facts = [f"seed {experiment.seed}"]
    if experiment.selection != "last":
        facts.append(f"selection {experiment.selection}")
    if experiment.gallery != "unseen":
        facts.append("generalized")
    if experiment.per_class_limit is not None:
        facts.append("smoke")
    return f"{' '.join(word for word in words if word)} on {experiment.split.name} ({', '.join(facts)})"


def show_plan(experiments: list[Experiment], where: str, force: bool, format: OutputFormat) -> None:
    """What would be run and what is done, with estimates from stored runs of the same kind; writes nothing."""
    store = existing(where)
    doing = store.doing() if store else {}
    running = {run.key: run.id for run in store.runs(id=list(doing))} if store else {}
    rows = []
    for experiment in experiments:
        stored = store.find(experiment.key) if store and not force else None
        like = store.runs(method=experiment.method.name, split=experiment.split.name, status="done") if store else []
        known = [sum(run.seconds.values()) for run in like if run.per_class_limit == experiment.per_class_limit]
        rows.append(
            {
                "cell": title(experiment),
                "state": state(stored, running.get(experiment.key)),
                "seconds": 0 if stored else round(sum(known) / len(known)) if known else None,
                "megabytes": round(memory_needed(experiment) / 1e6),
                "key": experiment.key[:16],
                "fingerprint": experiment.split.fingerprint[:16],
            }
        )
    if store:
        store.close()
    if format is OutputFormat.json:
        print_json(rows)
        return
    print_table(list(rows[0]), [["-" if cell is None else str(cell) for cell in row.values()] for row in rows])
    if any(row["seconds"] is None for row in rows):
        stderr().print("Seconds are those of stored runs of the same method and split; there are none for some cells.")


def state(stored: RunRecord | None, running: int | None) -> str:
    """What would become of a cell."""
    if stored is not None:
        return f"done, run {stored.id}"
    return "to run" if running is None else f"running, run {running}"


def memory_needed(experiment: Experiment) -> int:
    """Bytes that a run holds at least: decoded training images where they fit, and the test embeddings."""
    from datasets.images import CACHE_BYTES

    split, size = experiment.split, experiment.run.image_size
    decoded = len(split.train) * 3 * size**2 if experiment.method.terms else 0
    width = getattr(experiment.own, "dim", 0) or 2048  # the widest pooled feature of common backbones
    return (decoded if decoded <= CACHE_BYTES else 0) + 4 * width * (len(split.queries) + len(split.gallery))
