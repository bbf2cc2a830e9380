"""The plots that belong to the tables of each kind."""

from __future__ import annotations

import math
import statistics

import numpy as np

from bench.reports import ablation, classes, plots
from bench.reports.base import PICTURES, Options, Plot, RetrievalExamples
from bench.reports.cells import UNTRAINED_BASELINE, mean, select_rows
from bench.reports.rows import Group, Row, Source
from bench.results import details

ROWS = 6  # of a table that have curves
NAMES = 40  # classes in a confusion matrix; of more, the most confused


def assign_styles(source: Source) -> dict[str, int]:
    """The ``plots.style`` number of each row, the same in all plots of a report; rows with curves come first."""
    first = [row.name for group in source.groups for row in select_rows(group.rows, ROWS)]
    others = sorted(row.name for group in source.groups for row in group.rows)
    return {name: number for number, name in enumerate(dict.fromkeys((*first, *others)))}


@PICTURES.register("main")
def draw_main(source: Source, options: Options) -> list[Plot | RetrievalExamples]:
    """For each table: precision and recall, P@K, and the training curve of each loss term."""
    found: list[Plot | RetrievalExamples] = []
    for group in source.of("class"):
        rows = select_rows(group.rows, ROWS)
        found += _curves(source, group, rows) + draw_training(source, group, rows)
    return found


def _curves(source: Source, group: Group, rows: list[Row]) -> list[Plot | RetrievalExamples]:
    series: dict[str, tuple[list[float], list[float], list[float]]] = {}
    for row in rows:
        contents = [source.detail(run, details.CURVE) for run in row.runs]
        curves = [details.curve(content) for content in contents if content is not None]
        if curves:
            precision = np.mean([each.precision for each in curves], axis=0).tolist()
            recall = np.mean([each.recall for each in curves], axis=0).tolist()
            series[row.name] = (curves[0].ks.tolist(), precision, recall)
    if not series:
        return []
    at_ten = {name: ys[ks.index(10)] for name, (ks, ys, _) in series.items() if 10 in ks}
    summary = ", ".join(f"{name} {value:.2f}" for name, value in at_ten.items())
    panels = [
        ("Precision of the first K", "K photos", "P@K", [(name, ks, ps) for name, (ks, ps, _) in series.items()]),
        ("Precision and recall", "recall", "precision", [(name, rs, ps) for name, (_, ps, rs) in series.items()]),
    ]
    return [
        plots.draw_lines(
            f"Precision and recall: {group.title}",
            f"Two line plots of {len(series)} methods. Precision among the first ten photos: {summary}.",
            panels,
            assign_styles(source),
            logarithmic=True,
            caption="Means over queries and seeds at the first 1 to 1,000 photos.",
        )
    ]


def draw_training(source: Source, group: Group, rows: list[Row]) -> list[Plot | RetrievalExamples]:
    """The training curve of each loss term, one line per row."""
    histories = {row.name: _history(source, row) for row in rows}
    terms = list(dict.fromkeys(term for points in histories.values() for term in points))
    if not terms:
        return []
    panels = [
        (term, "step", "loss", [(name, *points[term]) for name, points in histories.items() if term in points])
        for term in terms
    ]
    last = [f"{term} of {name} ends at {ys[-1]:.3g}" for term, _, _, series in panels for name, _, ys in series[:1]]
    return [
        plots.draw_lines(
            f"Training: {group.title}",
            f"Line plots of each loss term over the training: {', '.join(map(str, terms))}. {'; '.join(last)}.",
            panels,
            assign_styles(source),
            caption="Each term without its weight, mean over seeds.",
        )
    ]


def _history(source: Source, row: Row) -> dict[str, tuple[list[float], list[float]]]:
    """For each loss term: steps and its mean over seeds."""
    contents = [source.detail(run, details.HISTORY) for run in row.runs]
    runs = [details.history(content) for content in contents if content is not None]
    if not runs:
        return {}
    length = min(len(points) for points in runs)
    terms = [name for name in runs[0][0] if name not in ("step", "epoch", "lr")]
    steps = [float(point["step"]) for point in runs[0][:length]]
    return {
        term: (steps, [statistics.fmean(points[n][term] for points in runs) for n in range(length)])
        for term in terms
        if all(term in point for points in runs for point in points[:length])
    }


@PICTURES.register("per-class")
def draw_classes(source: Source, options: Options) -> list[Plot | RetrievalExamples]:
    """Scores by class with their intervals, and the confusion of classes."""
    found: list[Plot | RetrievalExamples] = []
    for group in source.groups:
        rows = classes.find_best_rows(source, group)
        if rows:
            found.append(_by_class(source, group, rows))
            found += _confusion(source, group, rows[0][0])
    return found


def _by_class(source: Source, group: Group, rows: list[tuple[Row, classes.ClassScores]]) -> Plot:
    best = rows[0][1]
    order = np.argsort(-best.means, kind="stable")
    baseline = next((each for each in rows[1:] if each[0].name == UNTRAINED_BASELINE), None)
    series, styles, style_of = [], [], assign_styles(source)
    for row, each in [rows[0], *([baseline] if baseline else [])]:
        half = np.nan_to_num(each.half[order])
        middle = each.means[order]
        series.append((row.name, middle, np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)))
        styles.append([style_of[row.name]])
    names = [best.classes[n] for n in order]
    return plots.draw_dots(
        f"By class: {group.title}",
        f"Dot plot of {group.metrics[0]} for {len(names)} classes of {rows[0][0].name}, from {names[0]} "
        f"({best.means[order[0]]:.2f}) down to {names[-1]} ({best.means[order[-1]]:.2f}).",
        names,
        series,
        group.metrics[0],
        styles,
        caption="Mean over the queries of a class; lines are 95 % intervals for other sketches of that class.",
    )


def _confusion(source: Source, group: Group, row: Row) -> list[Plot | RetrievalExamples]:
    confusion = classes.compute_confusion(source, row)
    if confusion is None:
        return []
    names, shares = confusion
    caption = "Each row sums to 1 over all classes; the diagonal is the right class."
    if len(names) > NAMES:
        off = shares.copy()
        np.fill_diagonal(off, 0)
        worst = np.sort(np.argsort(-(off.max(axis=0) + off.max(axis=1)), kind="stable")[:NAMES])
        names, shares = tuple(names[n] for n in worst), shares[np.ix_(worst, worst)]
        caption += f" Only the {NAMES} most confused classes."
    return [
        plots.draw_heatmap(
            f"Confusion of {row.name}: {group.title}",
            f"Confusion matrix of {len(names)} classes; on average {float(np.diag(shares).mean()):.0%} of the best "
            "photos are of the right class. The table lists the most confused classes.",
            names,
            shares,
            caption=caption,
        )
    ]


@PICTURES.register("ablation")
def draw_ablations(source: Source, options: Options) -> list[Plot | RetrievalExamples]:
    """Differences to the full method, with one mark per seed."""
    found: list[Plot | RetrievalExamples] = []
    style_of = assign_styles(source)
    for group in source.groups:
        for full in group.rows:
            changed = [row for row in group.rows if ablation.is_ablation_of(row, full)]
            rows = []
            for row in changed:
                comparison, each = ablation.compare_seeds(source, row, full)
                if comparison is not None:
                    rows.append((row.name, comparison, each))
            if rows:
                rows.sort(key=lambda row: -row[1].points)
                middles, lows = [row[1].points for row in rows], [row[1].low for row in rows]
                highs = [row[1].high for row in rows]
                names = [name.removeprefix(f"{full.runs[0].method} ") for name, _, _ in rows]
                summary = ", ".join(f"{name} {row[1].points:+.1f}" for name, row in zip(names, rows, strict=True))
                found.append(
                    plots.draw_dots(
                        f"Ablation of {full.name}: {group.title}",
                        f"Differences to the full method in points of {full.metric}: {summary}.",
                        names,
                        [("mean", middles, lows, highs)],
                        f"difference in points of {full.metric}",
                        [[style_of[row[0]] for row in rows]],
                        caption="Dots and lines: mean difference and its 95 % interval; ticks: single seeds.",
                        zero=True,
                        points=[row[2] for row in rows],
                    )
                )
    return found


@PICTURES.register("cost")
def draw_cost(source: Source, options: Options) -> list[Plot | RetrievalExamples]:
    """Quality against the seconds of a run."""
    found: list[Plot | RetrievalExamples] = []
    for group in source.groups:
        points = []
        for row in select_rows(group.rows, len(group.rows)):
            seconds = statistics.fmean(sum(run.seconds.values()) for run in row.runs)
            quality = mean(row.values(row.metric))
            if seconds > 0 and quality >= 0 and not math.isnan(quality):
                points.append((row.name, seconds, quality))
        if len(points) > 1:
            summary = ", ".join(f"{name} {y:.2f} in {x:.0f} s" for name, x, y in points)
            found.append(
                plots.draw_scatter(
                    f"Cost against quality: {group.title}",
                    f"{group.metrics[0]} against the seconds of a run: {summary}.",
                    points,
                    "seconds of a run (preparing, training, embedding, scoring)",
                    group.metrics[0],
                    assign_styles(source),
                    caption="Up and to the left is better. Results from a cache count 0 seconds.",
                )
            )
    return found
