"""DSN: Domain-Smoothing Network (IJCAI 2021), with real-valued and with binary embeddings."""

from dataclasses import replace

from bench.evaluation.protocols.base import FITTED_ON_TEST, Protocol, declare

DSN = declare(
    Protocol(
        name="dsn",
        summary="VOC average precision and P@100, the mean taken over classes, on normalised vectors.",
        used_by="DSN",
        source="DSN src/tool.py:226-276, test_*.py:114-141",
        metrics=("mAP@all:voc@classes", "P@100:k@classes"),
        notes=("The mean over classes equals that over queries only where all classes have as many sketches.",),
    )
)
DSN_ITQ = declare(
    replace(
        DSN,
        name="dsn-itq",
        summary="As dsn, on binary codes fitted on the test queries.",
        used_by="DSN, its binary columns",
        source=f"{DSN.source}; codes src/tool.py:101-157",
        distance="hamming",
        codes="itq-test",
        notes=(FITTED_ON_TEST, "The repository ranks by Euclidean distance and leaves equal distances in any order."),
    )
)
