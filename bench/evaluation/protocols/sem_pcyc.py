"""SEM-PCYC (CVPR 2019), with real-valued and with binary embeddings."""

from dataclasses import replace

from bench.evaluation.protocols.base import FITTED_ON_TEST, Protocol, declare

SEM_PCYC = declare(
    Protocol(
        name="sem-pcyc",
        summary="scikit-learn's average precision of all and of the first 200 alone, raw Euclidean distance.",
        used_by="SEM-PCYC",
        source="sem-pcyc src/utils.py:57-100, test.py:286-307",
        metrics=("mAP@all:tied@queries", "mAP@200:hits@queries", "P@100:k@queries", "P@200:k@queries"),
        distance="euclidean",
        empty="zero",
        notes=(
            "Similarity is exp(-distance), which has the same order until it underflows to equal zeros.",
            "On the split of 21 classes the code tests every item twice (validation and test are one list): its P@200 "
            "is the P@100 of the real gallery, its mAP@200 the mAP@100.",
            "Its splits of 25 and 30 classes are not those of SAKE.",
        ),
    )
)
SEM_PCYC_ITQ = declare(
    replace(
        SEM_PCYC,
        name="sem-pcyc-itq",
        summary="As sem-pcyc, on binary codes fitted on the test queries.",
        used_by="SEM-PCYC, its binary columns",
        source=f"{SEM_PCYC.source}; codes itq.py",
        distance="hamming",
        codes="itq-test",
        notes=(FITTED_ON_TEST,),
    )
)
