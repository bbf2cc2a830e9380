"""SEM-PCYC (CVPR 2019), with real-valued and with binary embeddings."""

from __future__ import annotations

from bench.evaluation.protocols.base import Protocol, declare

METRICS = ("mAP@all:tied@queries", "mAP@200:hits@queries", "P@100:k@queries", "P@200:k@queries")
SOURCE = "sem-pcyc src/utils.py:57-100, test.py:286-307"

SEM_PCYC = declare(
    Protocol(
        name="sem-pcyc",
        summary="scikit-learn's average precision of all and of the first 200 alone, raw Euclidean distance.",
        used_by="SEM-PCYC",
        source=SOURCE,
        metrics=METRICS,
        distance="euclidean",
        empty="zero",
        notes=(
            "Similarity is exp(-distance), which has the same order until it underflows to equal zeros.",
            "On the split of 21 classes the code puts every item into the test set twice (validation and test are one "
            "list): its P@200 is then the P@100 of the real gallery and its mAP@200 the mAP@100.",
            "Its splits of 25 and 30 classes are not those of SAKE.",
        ),
    )
)
SEM_PCYC_ITQ = declare(
    Protocol(
        name="sem-pcyc-itq",
        summary="As sem-pcyc, on binary codes fitted on the test queries.",
        used_by="SEM-PCYC, its binary columns",
        source=f"{SOURCE}; codes itq.py",
        metrics=METRICS,
        distance="hamming",
        empty="zero",
        codes="itq-test",
        notes=("Only bits + 1 distinct distances: mAP@all:tied averages each group of equal ones at its end.",),
    )
)
