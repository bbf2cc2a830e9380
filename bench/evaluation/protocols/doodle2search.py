"""Doodle to Search (CVPR 2019)."""

from bench.evaluation.protocols.base import Protocol, declare

DOODLE2SEARCH = declare(
    Protocol(
        name="doodle2search",
        summary="scikit-learn's average precision, raw Euclidean distance.",
        used_by="doodle2search",
        source="doodle2search src/test.py:75-133, src/utils.py:41-57",
        metrics=("mAP@all:tied@queries",),
        distance="euclidean",
        empty="zero",
        notes=(
            "mAP@200 and P@200 are commented out; P@200 there takes column 200, the slip of tcn-cvpr19 (line 109).",
            "scikit-learn gives a query without relevant photo the value 0.",
            "Its 0.369 on Sketchy is mAP@all on the 21 classes; tables print it elsewhere.",
        ),
    )
)
