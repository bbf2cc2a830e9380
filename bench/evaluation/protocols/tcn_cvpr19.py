"""TCN's cvpr19 setting, which follows doodle2search, with its mistake of the 201st photo."""

from bench.evaluation.protocols.base import Protocol, declare

TCN_CVPR19 = declare(
    Protocol(
        name="tcn-cvpr19",
        summary="scikit-learn's average precision, of all photos and of the first 200 alone, and P@200 off by one.",
        used_by="TCN with --protocol cvpr19",
        source="TCN experiment/train_baseline_resnet.py:277-325, the index in line 321",
        metrics=("mAP@all:tied@queries", "mAP@200:hits@queries", "P@200:index@queries"),
        empty="zero",
        notes=(
            "Its precision@200 is the share of queries whose 201st photo is relevant, not that of the first 200.",
            "mAP@200 is divided by the relevant photos among the first 200.",
        ),
    )
)
