"""Yelamarthi et al., A Zero-Shot Framework for SBIR (ECCV 2018), where the 21 classes come from."""

from bench.evaluation.protocols.base import Protocol, declare

YELAMARTHI = declare(
    Protocol(
        name="yelamarthi",
        summary="The first 200 photos: sum of precisions over 200, whatever R is, and P@200.",
        used_by="Yelamarthi et al.",
        source="ShivaKrishnaM/ZS-SBIR trainCVAE_pre.py:230-305",
        metrics=("mAP@200:k@queries", "P@200:k@queries"),
        empty="zero",
        notes=("Its gallery is the 10,453 extended photos alone; the lists of others hold 12,553.",),
    )
)
