"""ICFRR: re-ranking by feedback among the gallery's neighbours."""

from bench.evaluation.protocols.base import Protocol, declare

ICFRR = declare(
    Protocol(
        name="icfrr",
        summary="torchmetrics: plain average precision, of the first 200 alone for mAP@200, P@25, P@100 and P@200.",
        used_by="ICFRR",
        source="ICFRR src/icfrr/metric_utils.py",
        metrics=(
            "mAP@all:plain@queries",
            "mAP@200:hits@queries",
            "P@25:k@queries",
            "P@100:k@queries",
            "P@200:k@queries",
        ),
        empty="zero",
        notes=("The re-ranking itself, which uses the whole unlabelled gallery, is not part of this protocol.",),
    )
)
