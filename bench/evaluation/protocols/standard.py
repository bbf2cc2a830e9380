"""The default of this project."""

from bench.evaluation.protocols.base import Protocol, declare

STANDARD = declare(
    Protocol(
        name="standard",
        summary="Plain average precision, mAP@200 over min(200, R), precision over K, every query alike, cosine.",
        used_by="this project, and textbooks of retrieval",
        source="bench/evaluation/metrics/average_precision.py",
        metrics=("mAP@all:plain@queries", "mAP@200:min@queries", "P@100:k@queries", "P@200:k@queries"),
    )
)
