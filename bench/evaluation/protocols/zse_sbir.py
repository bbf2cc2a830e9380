"""ZSE-SBIR (CVPR 2023)."""

from bench.evaluation.protocols.base import Protocol, declare

ZSE_SBIR = declare(
    Protocol(
        name="zse-sbir",
        summary="VOC average precision of all and of the first 200, precision over min(K, R), every query alike.",
        used_by="ZSE-SBIR with --testall, MA-ZS-SBIR",
        source="ZSE-SBIR utils/ap.py:7-112, utils/valid.py; MA-ZS-SBIR util.py:27-230",
        metrics=("mAP@all:voc@queries", "mAP@200:voc-min@queries", "P@100:min@queries", "P@200:min@queries"),
        notes=(
            "Without --testall the code evaluates on a subset (Sketchy: every 20th sketch, every 10th photo); that is "
            "not this protocol.",
            "The code ranks in half precision, where many scores are equal; here in float32.",
            "Its 'rn' setting ranks by a learned relation of each pair, which embeddings cannot express.",
        ),
    )
)
