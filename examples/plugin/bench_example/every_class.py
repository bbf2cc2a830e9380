"""A protocol that weighs every class equally."""

from __future__ import annotations

from bench.evaluation.protocols.base import Protocol, declare

EVERY_CLASS = declare(
    Protocol(
        name="every-class",
        summary="Plain average precision and P@100, first within each class, then over classes.",
        used_by="nobody: an example",
        source="examples/plugin/bench_example/every_class.py",
        metrics=("mAP@all:plain@classes", "P@100:k@classes"),
        empty="zero",
        notes=("A class with one sketch weighs as much as one with a hundred.",),
    )
)
