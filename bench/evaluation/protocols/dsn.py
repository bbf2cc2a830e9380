"""DSN: Domain-Smoothing Network (IJCAI 2021), with real-valued and with binary embeddings."""

from __future__ import annotations

from bench.evaluation.protocols.base import Protocol, declare

METRICS = ("mAP@all:voc@classes", "P@100:k@classes")
SOURCE = "DSN src/tool.py:226-276, test_*.py:114-141"

DSN = declare(
    Protocol(
        name="dsn",
        summary="VOC average precision and P@100, the mean taken over classes, on normalised vectors.",
        used_by="DSN",
        source=SOURCE,
        metrics=METRICS,
        notes=("The mean over classes equals that over queries only where all classes have as many sketches.",),
    )
)
DSN_ITQ = declare(
    Protocol(
        name="dsn-itq",
        summary="As dsn, on binary codes fitted on the test queries.",
        used_by="DSN, its binary columns",
        source=f"{SOURCE}; codes src/tool.py:101-157",
        metrics=METRICS,
        distance="hamming",
        codes="itq-test",
        notes=(
            "The codes are ranked by Euclidean distance, which has the order of the Hamming distance.",
            "There are only bits + 1 distinct distances and the repository's sort leaves equal ones in any order; here "
            "they stand in gallery order. Compare mAP@all:tied and the pessimistic and optimistic figures.",
        ),
    )
)
