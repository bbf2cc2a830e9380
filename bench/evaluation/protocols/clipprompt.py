"""ClipPrompt, the public re-implementation of CLIP for All Things Zero-Shot SBIR (CVPR 2023)."""

from bench.evaluation.protocols.base import Protocol, declare

CLIPPROMPT = declare(
    Protocol(
        name="clipprompt",
        summary="torchmetrics: plain average precision, mAP@200 over the relevant photos among the first 200, P@K.",
        used_by="ClipPrompt",
        source="ClipPrompt utils.py:72-94",
        metrics=("mAP@all:plain@queries", "mAP@200:hits@queries", "P@100:k@queries", "P@200:k@queries"),
        empty="zero",
        notes=(
            "Its README prints mAP@200 above P@200 (71.9 and 68.1), which mAP@200:min cannot be where R >= 200.",
            "torchmetrics 1.9 takes photos of similarity 0 or less for irrelevant; the release of its time did not.",
        ),
    )
)
