"""``--dry-run``: what would be run, what is done, and what it takes."""

from __future__ import annotations

from collections.abc import Sequence

from bench.cli.output import OutputFormat, print_json, print_table, stderr
from bench.experiments.experiment import Experiment
from bench.results.database import plain
from bench.results.models import RunRecord, trained_on
from bench.results.reading import existing

COSTLY = ("backbone", "image_size")  # settings that a run's time hangs on most, beside the epochs


def title(experiment: Experiment) -> str:
    """What a cell is called on the screen."""
    checkpoint = experiment.identity["configuration"].get("checkpoint")
    words = [experiment.method.name, experiment.ablation, experiment.post.title]
    words.append(trained_on(checkpoint))
    facts = [f"seed {experiment.seed}"]
    if experiment.selection != "last":
        facts.append(f"selection {experiment.selection}")
    if experiment.gallery != "unseen":
        facts.append("generalized")
    if experiment.per_class_limit is not None:
        facts.append("smoke")
    return f"{' '.join(word for word in words if word)} on {experiment.split.name} ({', '.join(facts)})"


def show_plan(
    experiments: list[Experiment], calls: list[list[str]], where: str, force: bool, format: OutputFormat
) -> None:
    """What would be run and what is done, with estimates from stored runs of the same kind; writes nothing.

    ``calls`` are the words that run each cell alone: JSON has them, for whatever scheduler, but no password.
    """
    store = existing(where)
    doing = store.doing() if store else {}
    running = {run.key: run.id for run in store.runs(id=list(doing))} if store else {}
    rows = []
    for experiment, call in zip(experiments, calls, strict=True):
        stored = store.find(experiment.key) if store and not force else None
        kind, split, limit = experiment.method.name, experiment.split.name, experiment.per_class_limit
        alike = store.runs(metrics=(), method=kind, split=split, per_class_limit=limit, status="done") if store else []
        rows.append(
            {
                "cell": title(experiment),
                "state": state(stored, running.get(experiment.key)),
                "seconds": 0 if stored else seconds_like(experiment, alike),
                "megabytes": round(memory_like(experiment, alike) / 1e6),
                "key": experiment.key[:16],
                "fingerprint": experiment.split.fingerprint[:16],
                "command": ["bench", *without_password(call)],
            }
        )
    if store:
        store.close()
    if format is OutputFormat.json:
        print_json(rows)
        if plain(where) != where:
            said = "The commands leave out --store, whose URL may hold a password: give it to them as BENCH_STORE."
            stderr().print(said, soft_wrap=True)
        return
    shown = [name for name in rows[0] if name != "command"]
    print_table(shown, [["-" if row[name] is None else str(row[name]) for name in shown] for row in rows])
    if any(row["seconds"] is None for row in rows):
        stderr().print(
            "Seconds and memory are those of stored runs of the same method and split; for some cells there are none: "
            "no seconds are known then, and the memory is that of images and embeddings alone."
        )


def without_password(call: Sequence[str]) -> list[str]:
    """The words of a call, whose first option is ``--store``, without it where its URL may hold a password."""
    return list(call if plain(call[1]) == call[1] else call[2:])


def state(stored: RunRecord | None, running: int | None) -> str:
    """What would become of a cell."""
    if stored is not None:
        return f"done, run {stored.id}"
    return "to run" if running is None else f"running, run {running}"


def nearest_of(experiment: Experiment, alike: Sequence[RunRecord]) -> list[RunRecord]:
    """Of runs of the same method and split those with the same network and image size, all where there are none."""
    asked, facts = experiment.run, [run.configuration.get("run", {}) for run in alike]
    same = [all(fact.get(each) == getattr(asked, each) for each in COSTLY) for fact in facts]
    return [run for run, taken in zip(alike, same, strict=True) if taken or not any(same)]


def seconds_like(experiment: Experiment, alike: Sequence[RunRecord]) -> int | None:
    """What such runs took on average, training scaled to the epochs that are asked for; None of none."""
    taken = []
    for run in nearest_of(experiment, alike):
        seconds, epochs = dict(run.seconds), run.configuration.get("run", {}).get("epochs")
        training = seconds.pop("training", 0.0) * (experiment.run.epochs / epochs if epochs else 1.0)
        taken.append(training + sum(seconds.values()))
    return round(sum(taken) / len(taken)) if taken else None


def memory_like(experiment: Experiment, alike: Sequence[RunRecord]) -> int:
    """Bytes: what such a run held at its peak, at least ``memory_needed``.

    The least of them, since a process of several runs counts those before as well.
    """
    peaks = [int(run.cost["peak_memory"]) for run in nearest_of(experiment, alike) if "peak_memory" in run.cost]
    return max(memory_needed(experiment), min(peaks, default=0))


def memory_needed(experiment: Experiment) -> int:
    """Bytes that a run holds at least: decoded training images where they fit, and the test embeddings."""
    from bench.datasets.images.loader import CACHE_BYTES

    split, size = experiment.split, experiment.run.image_size
    trains = bool(experiment.method.terms) and experiment.trained is None
    decoded = len(split.train) * 3 * size**2 if trains else 0
    width = getattr(experiment.own, "dim", 0) or 2048  # the widest pooled feature of common backbones
    return (decoded if decoded <= CACHE_BYTES else 0) + 4 * width * (len(split.queries) + len(split.gallery))
