"""What a plug-in declares is looked at when it is loaded: ``terms = None`` is a sentence and no traceback."""

from __future__ import annotations

import doctest
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

import bench.declared
from bench.datasets.base import DATASETS
from bench.declared import fits, takes
from bench.evaluation.protocols.base import PROTOCOLS, Protocol
from bench.methods.base import METHODS
from bench.reports.base import FORMATS, KINDS, PICTURES, Format


@dataclass(frozen=True)
class Unweighted:
    margin: float = 0.3


@dataclass(frozen=True)
class Wordy:
    weight_quadruplet: str = "much"
    weight_classification: float = 1.0
    weight_preservation: float = 1.0


@dataclass(frozen=True)
class Demanding:
    margin: float


METHOD = [
    ({"terms": None}, "its terms must be tuple[str, ...], not None"),
    ({"terms": "classification"}, "its terms must be tuple[str, ...], not 'classification'"),
    ({"terms": ("classification", 2)}, "its terms must be tuple[str, ...], not ('classification', 2)"),
    ({"summary": 17}, "its summary must be str, not 17"),
    ({"summary": ""}, "its summary is empty"),
    ({"name": property(lambda self: "ours")}, "its name must be str, not <property obj"),
    ({"version": True}, "its version must be int, not True"),
    ({"structural": ("unbalanced",)}, "its structural must be Mapping[str, Mapping[str, Any]], not ('unbalanced',)"),
    ({"structural": {"other": {"nope": 1}}}, "its Settings have no nope, which its files or structural name"),
    ({"files": ("wordlist",), "structural": {}}, "its Settings have no wordlist, which its files or structural name"),
    ({"uses_backbone": "no"}, "its uses_backbone must be bool, not 'no'"),
    ({"Settings": None}, "its Settings must be type, not None"),
    ({"Settings": int}, "its Settings are no dataclass"),
    ({"Settings": Demanding}, "its Settings cannot be made without arguments: TypeError: "),
    ({"Settings": Unweighted}, "its Settings have no number weight_quadruplet, but 'quadruplet' is one of its terms"),
    ({"Settings": Wordy}, "its Settings have no number weight_quadruplet, but 'quadruplet' is one of its terms"),
]
DATASET = [
    ({"split_names": ()}, "its split_names is empty"),
    ({"split_names": "emoji-93"}, "its split_names must be tuple[str, ...], not 'emoji-93'"),
    ({"licence": None}, "its licence must be str, not None"),
    ({"summary": b"bytes"}, "its summary must be str, not b'bytes'"),
    ({"recipe": None}, "its recipe must be Mapping[str, Any], not None"),
    ({"recipe": {7: "lucky"}}, "its recipe must be Mapping[str, Any], not {7: 'lucky'}"),
    ({"locating": ["root"]}, "its locating must be frozenset[str], not ['root']"),
    ({"Settings": Demanding}, "its Settings cannot be made without arguments: TypeError: "),
]


@pytest.mark.parametrize(("changes", "why"), METHOD)
def test_a_method_declares_what_the_engine_reads(changes: dict[str, Any], why: str) -> None:
    ours = METHODS.get("ours")
    assert METHODS._wrong(type("Subtle", (ours,), {})) == ""
    assert METHODS._wrong(type("Subtle", (ours,), changes)).startswith(why)


@pytest.mark.parametrize(("changes", "why"), DATASET)
def test_a_dataset_declares_what_lists_and_runs_read(changes: dict[str, Any], why: str) -> None:
    emoji = DATASETS.get("emoji")
    assert DATASETS._wrong(type("Subtle", (emoji,), {})) == ""
    assert DATASETS._wrong(type("Subtle", (emoji,), changes)).startswith(why)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"summary": None}, "its summary must be str, not None"),
        ({"used_by": ()}, "its used_by must be str, not ()"),
        ({"metrics": ["mAP@all:plain@queries"]}, "its metrics must be tuple[str, ...], not ['mAP@all:plain@queries']"),
        ({"metrics": ()}, "its metrics is empty"),
        ({"notes": "a sentence"}, "its notes must be tuple[str, ...], not 'a sentence'"),
    ],
)
def test_a_protocol_is_one_of_fields_that_fit(changes: dict[str, Any], why: str) -> None:
    wrong: Protocol = replace(PROTOCOLS.get("standard"), **changes)
    assert PROTOCOLS._wrong(wrong) == why


@pytest.mark.parametrize(
    ("format", "why"),
    [
        (Format(None, str), "its ending must be str, not None"),  # type: ignore[arg-type]
        (Format("", str), "its ending is empty"),
        (Format("tsv", None), "its write must be Callable[[Report], str], not None"),  # type: ignore[arg-type]
        (Format("tsv", lambda: ""), "its write must be Callable[[Report], str], not <function"),  # type: ignore
        (Format("tsv", str, 1), "its pictures must be bool, not 1"),  # type: ignore[arg-type]
    ],
)
def test_a_format_is_an_ending_and_a_function_of_a_report(format: Format, why: str) -> None:
    assert FORMATS._wrong(Format("tsv", str)) == ""
    assert FORMATS._wrong(format).replace("bench.reports.base.", "").startswith(why)


@pytest.mark.parametrize("registry", [KINDS, PICTURES])
def test_a_kind_is_a_function_of_the_source_and_the_options(registry: Any) -> None:
    assert registry._wrong(lambda source, options: []) == ""
    assert registry._wrong(lambda: []) == "it does not take two arguments, the source and the options"
    assert registry._wrong(Path) == "it is no function"  # a class


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, float, True),
        (True, float, False),
        (None, str | None, True),
        (3, str | None, False),
        ("cosine", Literal["cosine", "hamming"], True),
        ("nearest", Literal["cosine", "hamming"], False),
        ((1, "a"), tuple[int, str], True),
        ((1, "a", "b"), tuple[int, str], False),
    ],
)
def test_a_value_is_of_a_type_or_not(value: Any, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected


def test_a_function_that_does_not_tell_what_it_takes_is_taken() -> None:
    assert takes(dict.fromkeys, 2)
    assert takes(min, 2)


def test_the_examples_in_its_docstrings() -> None:
    assert doctest.testmod(bench.declared).failed == 0
