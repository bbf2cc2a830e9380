"""Metrics, their registry, and ids such as ``mAP@200:min``.

A metric is a function of one query under the decorator ``metric``. Its first use compiles it for all queries at once.
Ids are stable: a changed computation gets a new id.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

import numpy as np
import numpy.typing as npt

from bench.errors import UsageError, nearest
from bench.registry import Registry, not_a
from bench.types import Average, Doubles, Labels, Relevance

# Stored with every run; counts up when a corrected mistake changes the value of an id.
METRICS_VERSION = 1
LONGEST_K = 18  # digits: ranks are 64-bit integers
SHAPE = re.compile(
    r"(?P<family>[A-Za-z-]+)(?:@(?P<k>all|[0-9]+))?(?P<definition>:[a-z-]+)?(?:@(?P<average>queries|classes))?"
)

# Fixed lists: a new metric or a plug-in does not change what a run stores.
DEFAULT_KS = (100, 200)
DEFAULT_METRICS = (
    *("mAP@all:plain", "mAP@all:voc", "mAP@all:tied"),
    *(f"mAP@{k}:{definition}" for definition in ("min", "hits", "k", "all", "voc-min") for k in DEFAULT_KS),
    *(f"P@{k}:{definition}" for definition in ("k", "min", "index") for k in DEFAULT_KS),
)
STORED_METRICS = (*DEFAULT_METRICS, "P@5:k")  # small datasets have few photos of a class
MAIN_METRICS = ("mAP@all:plain", "mAP@200:min", "P@5:k", "P@100:k", "P@200:k")  # in tables, and stored for every query
# The same of fine-grained splits, where one photo is relevant.
FINE_GRAINED_METRICS = ("acc@1", "acc@5", "acc@10", "MRR", "median-rank")
MAIN_FINE_GRAINED_METRICS = FINE_GRAINED_METRICS[:-1]  # intervals are those of means


def stored_metrics(relevance: Relevance) -> tuple[str, ...]:
    """What a run stores the means of."""
    return FINE_GRAINED_METRICS if relevance == "instance" else STORED_METRICS


def main_metrics(relevance: Relevance) -> tuple[str, ...]:
    """What tables show, and a run stores for every query."""
    return MAIN_FINE_GRAINED_METRICS if relevance == "instance" else MAIN_METRICS


Function = Callable[..., None]
HELPERS: list[Callable[..., float]] = []


@dataclass(frozen=True, slots=True)
class Definition:
    """One published way to compute a metric.

    ``name`` is its id with ``K`` for the number, ``used_by`` the public code that computes it (repository and lines).
    ``function`` computes one query. It takes those of these arguments that it needs, by name:

    - ``ranks`` int64 [R]: ranks of the relevant photos, ascending, from 1; R is at least 1;
    - ``ends`` int64 [R], ascending: for each relevant photo, how many photos score as high or higher;
    - ``relevant``: R. Arrays may be longer: only the first R entries count;
    - ``k``, for an id with ``@K``;
    - ``value`` float64 [1]: write the result to ``value[0]``.

    ``median``: a value is a rank, lower is better, and queries are summarised by their median instead of their mean.
    """

    name: str
    used_by: str
    function: Function
    median: bool = False

    @property
    def summary(self) -> str:
        """The first paragraph of the function's docstring."""
        return " ".join((inspect.getdoc(self.function) or "").partition("\n\n")[0].split())

    @property
    def has_k(self) -> bool:
        """Whether an id of it has a number."""
        return "@K" in self.name

    def at(self, k: int) -> str:
        """The id at ``k``; its name where it has no K."""
        return self.name.replace("@K", f"@{k}")

    def __call__(self, ranks: Sequence[int], k: int = 1, ends: Sequence[int] | None = None) -> float:
        """The value of one query; without ``ends``, no scores are equal."""
        values, row = np.empty((1, 1)), np.array([ranks], dtype=np.int64)
        last = row if ends is None else np.array([ends], dtype=np.int64)
        fill_values([Metric(self.name, k)], row, last, np.array([len(ranks)]), values)
        return float(values[0, 0])


METRICS: Registry[Definition] = Registry("metric", "bench.evaluation.metrics", "bench.metrics", wrong=not_a(Definition))


def metric(name: str, *, used_by: str, median: bool = False) -> Callable[[Function], Definition]:
    """Decorator that registers a function as a metric; ``Definition`` has its arguments."""
    return lambda function: METRICS.register(name)(Definition(name, used_by, function, median))


def helper(function: Callable[..., float]) -> Callable[..., float]:
    """Decorator of a function that metrics of the same file call."""
    HELPERS.append(function)
    return function


def definitions() -> list[Definition]:
    """Every metric in alphabetical order, ignoring case."""
    return [each for _, each in sorted(METRICS.items(), key=lambda item: item[0].casefold())]


@dataclass(frozen=True, slots=True)
class Metric:
    """A parsed id: name of the definition, K (None without a number), average (None where the id has none)."""

    definition: str
    k: int | None
    average: Average | None = None

    @property
    def id(self) -> str:
        """The id without the average."""
        return self.definition.replace("@K", f"@{self.k}")

    def __str__(self) -> str:
        return self.id if self.average is None else f"{self.id}@{self.average}"


@cache
def parse_metric(text: str) -> Metric:
    """The metric of an id.

    >>> parse_metric("mAP@200:min")
    Metric(definition='mAP@K:min', k=200, average=None)
    >>> str(parse_metric("P@5:k@classes"))
    'P@5:k@classes'

    Raises UsageError for an unknown metric, with the nearest id, and for a K below 1.
    """
    if not isinstance(text, str):
        raise UsageError(f"A metric is named by a text such as 'mAP@200:min', not by {text!r}.")
    found = SHAPE.fullmatch(text)
    if found is None:
        raise _unknown(text)
    k = int(found["k"]) if found["k"] and found["k"] != "all" else None
    if k is not None and (k < 1 or len(found["k"]) > LONGEST_K):
        raise UsageError(f"K in {text!r} must be a number from 1 with at most {LONGEST_K} digits.")
    at = "@K" if k is not None else "@all" if found["k"] else ""
    name = f"{found['family']}{at}{found['definition'] or ''}"
    if name not in METRICS.names():
        raise _unknown(text)
    return Metric(name, k, cast("Average | None", found["average"]))


def fill_values(
    metrics: Sequence[Metric],
    ranks: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    relevant: Labels,
    values: Doubles,
) -> None:
    """Compute metrics into ``values`` float64 [metrics, queries]; NaN without relevant photo.

    ``ranks`` and ``ends`` int64 [queries, most] are as in ``Definition``; ``relevant`` [queries] columns count.
    """
    counted = relevant > 0
    given: dict[str, object] = {"ranks": ranks, "ends": ends, "relevant": relevant}
    if not counted.all():
        given = {"ranks": ranks[counted], "ends": ends[counted], "relevant": relevant[counted]}
    values[:, ~counted] = np.nan
    for row, each in zip(values, metrics, strict=True):
        names, ufunc = compile_metric(each.definition)
        row[counted] = ufunc(*({**given, "k": each.k}[name] for name in names))


@cache
def compile_metric(name: str) -> tuple[tuple[str, ...], Callable[..., Doubles]]:
    """Names of a metric's arguments, and its compiled function of all queries."""
    from bench.evaluation.jit import over_queries  # numba takes a third of a second to import

    return over_queries(METRICS.get(name).function, tuple(HELPERS))


def _unknown(text: str) -> UsageError:
    """Suggest ids with the K of the text, ready to be pasted."""
    numbers = re.findall(r"[1-9][0-9]*", text)
    k = int(numbers[0]) if numbers and len(numbers[0]) <= LONGEST_K else DEFAULT_KS[-1]
    ids = [each.at(k) for each in definitions()]
    meant = [each for each in ids if each.startswith(f"{text}:")]
    if meant:
        return UsageError(f"There is no metric {text!r} without its definition: choose {', '.join(meant)}.")
    family = [each for each in ids if each.startswith("P@")] if text.startswith("P@") else ids
    return UsageError(f"There is no metric {text!r}. {nearest(text, family)}")
