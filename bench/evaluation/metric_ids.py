"""Names of metrics: ``mAP@200:min`` says what is computed, at which K and under whose definition.

The ids are stable: a changed computation gets a new id. What the values are is in ``bench.evaluation.metrics``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from bench.errors import UsageError, nearest
from bench.types import Average

Family = Literal["mAP", "P"]

# Counts up when the value of an id changes after all, such as by a mended mistake; stored with every run.
METRICS_VERSION = 1

# The engine counts ranks in 64 bits; eighteen digits stay below that and above every gallery.
LONGEST_K = 18
SHAPE = re.compile(r"(?P<family>mAP|P)@(?P<k>all|[0-9]+):(?P<definition>[a-z-]+)(?:@(?P<average>queries|classes))?")


@dataclass(frozen=True, slots=True)
class Definition:
    """One published way to compute a metric, as ``bench list metrics`` shows it.

    ``pattern`` is the id with ``K`` for the number, ``summary`` one sentence, ``used_by`` the public code that computes
    it (repository and lines).
    """

    pattern: str
    summary: str
    used_by: str

    def at(self, k: int) -> str:
        """The id at ``k``; the pattern itself where the definition has no K."""
        return self.pattern.replace("@K:", f"@{k}:")


DEFINITIONS = (
    Definition(
        "mAP@all:plain",
        "Mean over the R relevant photos of the precision at their rank.",
        "Sketch_LVM src/model_LN_prompt.py:74-97, ClipPrompt utils.py:72-94 and ICFRR src/icfrr/metric_utils.py "
        "(all through torchmetrics)",
    ),
    Definition(
        "mAP@all:voc",
        "As plain, each precision replaced by the highest precision at this or any later rank.",
        "SAKE test_cse_resnet_tuberlin_zeroshot.py:295-344, DSN src/tool.py:226-276, TCN util/tool.py:62-141, "
        "ZSE-SBIR utils/ap.py:7-112, ACNet metric.py:5-89",
    ),
    Definition(
        "mAP@all:tied",
        "As plain, equal scores forming one threshold: each photo counts at the last rank of its group.",
        "SEM-PCYC src/utils.py:57-100, doodle2search src/test.py:75-133, TCN's cvpr19 protocol (all by scikit-learn)",
    ),
    Definition(
        "mAP@K:min",
        "Sum of the precisions at relevant ranks up to K, divided by the smaller of K and R.",
        "the harness's own standard protocol; the usual definition in image retrieval",
    ),
    Definition(
        "mAP@K:hits",
        "The same sum divided by the relevant photos found up to K (0 without any): few hits cost little.",
        "ClipPrompt utils.py:72-94 and ICFRR src/icfrr/metric_utils.py (torchmetrics, top_k), SEM-PCYC "
        "src/utils.py:57-100 and TCN's cvpr19 protocol (scikit-learn on the first K)",
    ),
    Definition(
        "mAP@K:k",
        "The same sum divided by K, however few relevant photos there are.",
        "Yelamarthi et al. trainCVAE_pre.py:230-305",
    ),
    Definition(
        "mAP@K:all",
        "The same sum divided by all R relevant photos: with R above K it cannot reach 1.",
        "no repository that was read; it is what mAP@all keeps of a list cut at K",
    ),
    Definition(
        "mAP@K:voc-min",
        "As min, each precision replaced by the highest precision at this or any later rank up to K.",
        "ZSE-SBIR utils/ap.py:7-112, MA-ZS-SBIR util.py:27-230, TCN util/tool.py:62-141, ACNet metric.py:5-89",
    ),
    Definition(
        "P@K:k",
        "Share of relevant photos among the first K.",
        "SAKE test_cse_resnet_tuberlin_zeroshot.py:82-97, DSN src/tool.py:226-276, TCN util/tool.py:62-141, SEM-PCYC "
        "src/utils.py:57-100, Yelamarthi et al. trainCVAE_pre.py:230-305, ACNet, ClipPrompt, ICFRR",
    ),
    Definition(
        "P@K:min",
        "Share of relevant photos among the first min(K, R).",
        "ZSE-SBIR utils/ap.py:65-74, MA-ZS-SBIR util.py:27-230",
    ),
    Definition(
        "P@K:index",
        "Whether the photo at position K counted from zero, the (K+1)th, is relevant: a slip, kept to explain it.",
        "TCN experiment/train_baseline_resnet.py:321 (cvpr19 protocol), commented out in doodle2search src/test.py:109",
    ),
)
PATTERNS = tuple(each.pattern for each in DEFINITIONS)
DEFAULT_KS = (100, 200)
DEFAULT_METRICS = tuple(
    each.at(k) for each in DEFINITIONS for k in (DEFAULT_KS if "@K:" in each.pattern else DEFAULT_KS[:1])
)
STORED_METRICS = (*DEFAULT_METRICS, "P@5:k")  # of every run; small datasets have few photos of a class


@dataclass(frozen=True, slots=True)
class Metric:
    """A parsed id; ``str()`` gives the text back.

    ``k`` is None for ``@all``. ``average`` is None where the text does not say over what the mean is taken.
    """

    family: Family
    k: int | None
    definition: str
    average: Average | None = None

    @property
    def id(self) -> str:
        """The id without the average: what one query has a value of."""
        return f"{self.family}@{'all' if self.k is None else self.k}:{self.definition}"

    @property
    def code(self) -> int:
        """Position of the definition in ``DEFINITIONS``: how compiled code knows it."""
        return PATTERNS.index(_pattern(self.family, self.k, self.definition))

    def __str__(self) -> str:
        return self.id if self.average is None else f"{self.id}@{self.average}"


def parse_metric(text: str) -> Metric:
    """The metric that ``text`` names: ``mAP@200:min``, ``P@5:k@classes``.

    >>> parse_metric("mAP@200:min")
    Metric(family='mAP', k=200, definition='min', average=None)
    >>> str(parse_metric("P@5:k@classes"))
    'P@5:k@classes'

    Raises UsageError with the nearest id when there is no such metric or K is not a number from 1.
    """
    found = SHAPE.fullmatch(text)
    if found is None:
        raise _unknown(text)
    family, definition = cast("Family", found["family"]), found["definition"]
    k = None if found["k"] == "all" else int(found["k"])
    if k is not None and (k < 1 or len(found["k"]) > LONGEST_K):
        raise UsageError(f"K in {text!r} must be a number from 1 with at most {LONGEST_K} digits.")
    if _pattern(family, k, definition) not in PATTERNS:
        raise _unknown(text)
    return Metric(family, k, definition, cast("Average | None", found["average"]))


def _pattern(family: str, k: int | None, definition: str) -> str:
    return f"{family}@{'all' if k is None else 'K'}:{definition}"


def _unknown(text: str) -> UsageError:
    """Compare with ids at the K that was meant, so that the answer can be pasted."""
    numbers = re.findall(r"[1-9][0-9]*", text)
    k = int(numbers[0]) if numbers and len(numbers[0]) <= LONGEST_K else DEFAULT_KS[-1]
    ids = [each.at(k) for each in DEFINITIONS]
    meant = [each for each in ids if each.startswith(f"{text}:")]
    if meant:
        return UsageError(f"There is no metric {text!r} without its definition: choose {', '.join(meant)}.")
    family = [each for each in ids if each.startswith("P@")] if text.startswith("P@") else ids
    return UsageError(f"There is no metric {text!r}. {nearest(text, family)}")
