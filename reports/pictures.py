"""What formats with pictures show beside the tables of each kind: which curves, dots and squares there are to draw."""

from __future__ import annotations

import math
import statistics

import numpy as np

from bench.evaluation.metrics.base import MAIN_METRICS
from bench.reports import ablation, classes, plots
from bench.reports.base import PICTURES, Figure, Gallery, Options
from bench.reports.cells import YARDSTICK, mean, shown_rows
from bench.reports.stored_runs import Group, Row, Source
from bench.results import details

SHOWN = 6  # rows of a table that curves are drawn of
NAMES = 40  # classes that a square can name; of more, the most confused
METRIC = MAIN_METRICS[0]


def looks(source: Source) -> dict[str, int]:
    """The ``look`` of every row's name, the same in all drawings of a report; what is drawn most comes first."""
    drawn = [row.name for group in source.groups for row in shown_rows(group.rows, SHOWN)]
    others = sorted(row.name for group in source.groups for row in group.rows)
    return {name: number for number, name in enumerate(dict.fromkeys((*drawn, *others)))}


@PICTURES.register("main")
def of_main(source: Source, options: Options) -> list[Figure | Gallery]:
    """Precision and recall, P@K and the training curves of every loss term, for each table."""
    found: list[Figure | Gallery] = []
    for group in source.groups:
        rows = shown_rows(group.rows, SHOWN)
        found += _curves(source, group, rows) + _training(source, group, rows)
    return found


def _curves(source: Source, group: Group, rows: list[Row]) -> list[Figure | Gallery]:
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
    told = ", ".join(f"{name} {value:.2f}" for name, value in at_ten.items())
    panels = [
        ("Precision of the first K", "K photos", "P@K", [(name, ks, ps) for name, (ks, ps, _) in series.items()]),
        ("Precision and recall", "recall", "precision", [(name, rs, ps) for name, (_, ps, rs) in series.items()]),
    ]
    return [
        plots.lines(
            f"Precision and recall: {group.title}",
            f"Two line plots of {len(series)} methods. Precision among the first ten photos: {told}.",
            panels,
            looks(source),
            logarithmic=True,
            caption="Means over queries and seeds at the first 1 to 1,000 photos.",
        )
    ]


def _training(source: Source, group: Group, rows: list[Row]) -> list[Figure | Gallery]:
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
        plots.lines(
            f"Training: {group.title}",
            f"Line plots of each loss term over the training: {', '.join(map(str, terms))}. {'; '.join(last)}.",
            panels,
            looks(source),
            caption="Each term without its weight, mean over seeds.",
        )
    ]


def _history(source: Source, row: Row) -> dict[str, tuple[list[float], list[float]]]:
    """Steps and the mean over seeds of each loss term."""
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
def of_classes(source: Source, options: Options) -> list[Figure | Gallery]:
    """Scores by class with their intervals, and which classes are answered with which."""
    found: list[Figure | Gallery] = []
    for group in source.groups:
        rows = classes.best_rows(source, group)
        if rows:
            found.append(_by_class(source, group, rows))
            found += _confusion(source, group, rows[0][0])
    return found


def _by_class(source: Source, group: Group, rows: list[tuple[Row, classes.ByClass]]) -> Figure:
    best = rows[0][1]
    order = np.argsort(-best.means, kind="stable")
    yardstick = next((each for each in rows[1:] if each[0].name == YARDSTICK), None)
    series, numbers, look_of = [], [], looks(source)
    for row, each in [rows[0], *([yardstick] if yardstick else [])]:
        half = np.nan_to_num(each.half[order])
        middle = each.means[order]
        series.append((row.name, middle, np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)))
        numbers.append([look_of[row.name]])
    names = [best.classes[n] for n in order]
    return plots.dots(
        f"By class: {group.title}",
        f"Dot plot of {METRIC} for {len(names)} classes of {rows[0][0].name}, from {names[0]} "
        f"({best.means[order[0]]:.2f}) down to {names[-1]} ({best.means[order[-1]]:.2f}).",
        names,
        series,
        METRIC,
        numbers,
        caption="Mean over the queries of a class; lines are 95 % intervals for other sketches of that class.",
    )


def _confusion(source: Source, group: Group, row: Row) -> list[Figure | Gallery]:
    found = classes.confusion(source, row)
    if found is None:
        return []
    names, shares = found
    caption = "Each row adds up to 1 over all classes; the diagonal is right."
    if len(names) > NAMES:
        off = shares.copy()
        np.fill_diagonal(off, 0)
        worst = np.sort(np.argsort(-(off.max(axis=0) + off.max(axis=1)), kind="stable")[:NAMES])
        names, shares = tuple(names[n] for n in worst), shares[np.ix_(worst, worst)]
        caption += f" Only the {NAMES} classes that are confused most."
    return [
        plots.heat(
            f"Confusion of {row.name}: {group.title}",
            f"Squares of {len(names)} by {len(names)} classes; on average {float(np.diag(shares).mean()):.0%} of the "
            "best photos are of the right class. The table of the most confused classes says which are not.",
            names,
            shares,
            caption=caption,
        )
    ]


@PICTURES.register("ablation")
def of_ablations(source: Source, options: Options) -> list[Figure | Gallery]:
    """Differences to the full method, seed by seed."""
    found: list[Figure | Gallery] = []
    look_of = looks(source)
    for group in source.groups:
        for full in group.rows:
            changed = [row for row in group.rows if ablation.is_ablation_of(row, full)]
            rows = []
            for row in changed:
                compared, each = ablation.compared(source, row, full)
                if compared is not None:
                    rows.append((row.name, compared, each))
            if rows:
                rows.sort(key=lambda row: -row[1].points)
                middles, lows = [row[1].points for row in rows], [row[1].low for row in rows]
                highs = [row[1].high for row in rows]
                names = [name.removeprefix(f"{full.runs[0].method} ") for name, _, _ in rows]
                told = ", ".join(f"{name} {row[1].points:+.1f}" for name, row in zip(names, rows, strict=True))
                found.append(
                    plots.dots(
                        f"Ablation of {full.name}: {group.title}",
                        f"Differences to the full method in points of {METRIC}: {told}.",
                        names,
                        [("mean", middles, lows, highs)],
                        f"difference in points of {METRIC}",
                        [[look_of[row[0]] for row in rows]],
                        caption="Dots and lines: mean difference and its 95 % interval; ticks: single seeds.",
                        zero=True,
                        points=[row[2] for row in rows],
                    )
                )
    return found


@PICTURES.register("cost")
def of_cost(source: Source, options: Options) -> list[Figure | Gallery]:
    """Quality against the seconds that a run took."""
    found: list[Figure | Gallery] = []
    for group in source.groups:
        points = []
        for row in shown_rows(group.rows, len(group.rows)):
            seconds = statistics.fmean(sum(run.seconds.values()) for run in row.runs)
            quality = mean(row.values(METRIC))
            if seconds > 0 and quality >= 0 and not math.isnan(quality):
                points.append((row.name, seconds, quality))
        if len(points) > 1:
            told = ", ".join(f"{name} {y:.2f} in {x:.0f} s" for name, x, y in points)
            found.append(
                plots.scatter(
                    f"Cost against quality: {group.title}",
                    f"{METRIC} against the seconds of a run: {told}.",
                    points,
                    "seconds of a run (preparing, training, embedding, scoring)",
                    METRIC,
                    looks(source),
                    caption="Up and to the left is better. What came from a cache cost nothing.",
                )
            )
    return found
