"""What a balanced loss is worth in batches of unequal domains: a table and a plot of stored runs.

    python benchmarks/photo_share.py --store FILE [--weight X] [--dataset NAME] [--split NAME] [-o FILE.svg]

Runs of `ours` with `--set photo_share=...` and its structural ablations count, if no other setting differs and the
quadruplet has the weight X (default 1). Each
difference is the balanced quadruplet minus another form of the loss on the same batches, in points of mAP@all, paired
by query and seed, with its 95 % interval over classes and trainings.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.errors import IncompleteError
from bench.reports.ablation import compare_seeds
from bench.reports.cells import format_seeds, mean
from bench.reports.rows import Row, Source, collect_settings
from bench.results.models import RunRecord
from bench.results.reading import existing
from bench.settings.run_settings import RunSettings

METRIC = "mAP@all:plain"


def share_of(run: RunRecord) -> float:
    """The share of photos in the batches of a run."""
    return float(run.configuration["run"].get("photo_share", RunSettings.photo_share))


def same_but_for_the_loss(run: RunRecord, other: RunRecord) -> bool:
    """Whether two runs differ only in the share of photos and in what the ablation of ``run`` changes."""
    free = {"photo_share", *run.configuration.get("ablated", ())}
    mine, its = ({name: value for name, value in collect_settings(each) if name not in free} for each in (run, other))
    return mine == its


def select_rows(runs: list[RunRecord], weight: float) -> dict[str, dict[float, Row]]:
    """Rows by form of the loss ("" is the balanced quadruplet) and by share; the newest run of a seed counts."""
    full = [run for run in runs if not run.ablation]
    plain = [run for run in full if run.configuration["method"].get("weight_quadruplet") == weight]
    if not plain:
        raise IncompleteError(f"The store has no run of 'ours' with weight_quadruplet={weight:g}: run the sweep first.")
    found: dict[str, dict[float, dict[int, RunRecord]]] = {}
    for run in sorted(runs, key=lambda run: (run.seed, run.id)):
        if same_but_for_the_loss(run, plain[0]):
            found.setdefault(run.ablation, {}).setdefault(share_of(run), {})[run.seed] = run
    return {
        loss: {share: Row(loss or "balanced", tuple(by_seed.values())) for share, by_seed in sorted(shares.items())}
        for loss, shares in found.items()
    }


def compare_all(source: Source, rows: dict[str, dict[float, Row]]) -> list[dict[str, Any]]:
    """One entry for each loss and share: its mean, and the balanced quadruplet's lead with its interval."""
    entries = []
    for loss, shares in rows.items():
        for share, row in shares.items():
            entry = {"loss": row.name, "share": share, "seeds": format_seeds(row), "map_all": mean(row.values(METRIC))}
            balanced = rows[""].get(share)
            found = compare_seeds(source, balanced, row)[0] if loss and balanced is not None else None
            if found is not None:
                entry |= {"lead": found.points, "low": found.low, "high": found.high}
            entries.append(entry)
    return sorted(entries, key=lambda each: (each["share"], each["loss"] != "balanced", each["loss"]))


def draw(entries: list[dict[str, Any]], path: Path) -> None:
    """The scores and the leads by share, side by side."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "photo-share", "font.size": 10}):
        figure, (scores, leads) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
        names = list(dict.fromkeys(each["loss"] for each in entries))
        for number, (name, marker) in enumerate(zip(names, "os^DvPX*", strict=False)):
            own = [each for each in entries if each["loss"] == name]
            line = {"color": f"C{number}", "marker": marker, "label": name}
            scores.plot([each["share"] for each in own], [each["map_all"] for each in own], **line)
            led = [each for each in own if "lead" in each]
            moved = [each["share"] + 0.008 * number for each in led]  # so that bars do not cover each other
            bars = [[each["lead"] - each["low"] for each in led], [each["high"] - each["lead"] for each in led]]
            if led:
                leads.errorbar(moved, [each["lead"] for each in led], yerr=bars, capsize=3, **line)
        leads.axhline(0, color="black", linewidth=0.8)
        scores.set(xlabel="share of photos in a batch", ylabel="mAP@all", title="score")
        leads.set(xlabel="share of photos in a batch", ylabel="points", title="lead of the balanced quadruplet")
        figure.legend(*scores.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


def main() -> None:
    """Read the store, print the table, write the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True)
    parser.add_argument("--weight", type=float, default=1.0)
    parser.add_argument("--dataset", default="emoji")
    parser.add_argument("--split", default="emoji-93")
    parser.add_argument("--limit", type=int, help="runs of a smoke test")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.svg")
    options = parser.parse_args()
    store = existing(options.store)
    if store is None:
        parser.error(f"There is no store {options.store}.")
    with closing(store):
        where = {"dataset": options.dataset, "split": options.split, "per_class_limit": options.limit}
        runs = store.runs(method="ours", status="done", gallery="unseen", selection="last", **where)
        source = Source(store, runs, include_smoke=options.limit is not None)
        entries = compare_all(source, select_rows(runs, options.weight))
    print("| share of photos | loss | seeds | mAP@all | lead of the balanced quadruplet, points |\n|" + " --- |" * 5)
    for each in entries:
        lead = f"{each['lead']:+.1f} ({each['low']:+.1f} to {each['high']:+.1f})" if "lead" in each else ""
        print(f"| {each['share']:g} | {each['loss']} | {each['seeds']} | {each['map_all']:.3f} | {lead} |")
    if options.output is not None:
        draw(entries, options.output)


if __name__ == "__main__":
    main()
