"""TCN: Three-stream joint training network (TPAMI 2021), its iccv19 setting."""

from dataclasses import replace

from bench.evaluation.protocols.base import FITTED_ON_TEST, Protocol, declare

TCN = declare(
    Protocol(
        name="tcn",
        summary="VOC average precision of all and of the first 200, precision over K, mean over classes.",
        used_by="TCN with --protocol iccv19",
        source="TCN util/tool.py:62-141, experiment/train_baseline_resnet.py:277-325",
        metrics=("mAP@all:voc@classes", "mAP@200:voc-min@classes", "P@100:k@classes", "P@200:k@classes"),
        notes=("With --topk 200 the envelope is taken inside the first 200 and divided by min(200, R).",),
    )
)
TCN_ITQ = declare(
    replace(
        TCN,
        name="tcn-itq",
        summary="As tcn, on binary codes fitted on the test queries.",
        used_by="TCN, its binary columns",
        source=f"{TCN.source}; codes util/tool.py:167-224",
        distance="hamming",
        codes="itq-test",
        notes=(FITTED_ON_TEST, "The repository leaves equal distances in any order."),
    )
)
