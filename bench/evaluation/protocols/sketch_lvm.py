"""Sketch_LVM: CLIP for All Things Zero-Shot SBIR (CVPR 2023), its released evaluation."""

from bench.evaluation.protocols.base import Protocol, declare

SKETCH_LVM = declare(
    Protocol(
        name="sketch-lvm",
        summary="torchmetrics' plain average precision over a gallery of one random photo of its class for each query.",
        used_by="Sketch_LVM",
        source="Sketch_LVM src/model_LN_prompt.py:74-97, src/dataset_retrieval.py:75",
        metrics=("mAP@all:plain@queries",),
        gallery="paired",
        empty="zero",
        notes=(
            "The gallery has one photo for each query, some repeatedly, and each validation draws again. Here the seed "
            "decides. Not comparable with a full gallery.",
            "A query whose class has no photo draws none.",
        ),
    )
)
