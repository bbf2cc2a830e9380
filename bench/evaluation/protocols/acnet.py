"""ACNet (TCSVT 2022)."""

from bench.evaluation.protocols.base import Protocol, declare

ACNET = declare(
    Protocol(
        name="acnet",
        summary="VOC average precision of all and of the first 200, precision over K, every query alike.",
        used_by="ACNet",
        source="ACNet metric.py:5-89, utils.py:79-92",
        metrics=("mAP@all:voc@queries", "mAP@200:voc-min@queries", "P@100:k@queries", "P@200:k@queries"),
        notes=(
            "One query without relevant photo makes the repository's mAP NaN. Here such queries are left out.",
            "Precision is divided by min(K, gallery), which is K on every full gallery.",
        ),
    )
)
