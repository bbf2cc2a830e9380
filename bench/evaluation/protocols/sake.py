"""SAKE: Semantic-Aware Knowledge prEservation (ICCV 2019)."""

from bench.evaluation.protocols.base import Protocol, declare

SAKE = declare(
    Protocol(
        name="sake",
        summary="VOC average precision and P@100, Euclidean on normalised vectors, which has the order of cosine.",
        used_by="SAKE",
        source="SAKE test_cse_resnet_tuberlin_zeroshot.py:82-97, 295-344 (the Sketchy script imports it)",
        metrics=("mAP@all:voc@queries", "mAP@all:voc@classes", "P@100:k@queries", "P@100:k@classes"),
        notes=(
            "The script prints a value for each class and no overall one. Which mean was published is unknown.",
            "P@100 is divided by min(100, gallery), which is 100 on every full gallery.",
            "A query without relevant photo gives 0/0, which nanmean leaves out.",
        ),
    )
)
