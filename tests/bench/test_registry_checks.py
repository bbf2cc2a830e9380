"""A plug-in that declares what cannot be used is refused with one sentence when it is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bench.datasets.base import DATASETS
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


METHOD: list[tuple[dict[str, Any], str]] = [
    ({"terms": None}, "its terms must be of type tuple, not None"),
    ({"terms": "classification"}, "its terms must be of type tuple, not 'classification'"),
    ({"terms": ("classification", 2)}, "its Settings have no number weight_2"),
    ({"summary": 17}, "its summary must be of type str, not 17"),
    ({"summary": ""}, "its summary is empty"),
    ({"name": property(lambda self: "ours")}, "its name must be of type str, not <property obj"),
    ({"structural": ("unbalanced",)}, "its structural must be of type Mapping, not ('unbalanced',)"),
    ({"structural": {"other": {"nope": 1}}}, "its Settings have no nope, which its files or structural name"),
    ({"files": ("wordlist",), "structural": {}}, "its Settings have no wordlist, which its files or structural name"),
    ({"uses_backbone": "no"}, "its uses_backbone must be of type bool, not 'no'"),
    ({"Settings": None}, "its Settings must be of type type, not None"),
    ({"Settings": Unweighted}, "its Settings have no number weight_quadruplet for its term 'quadruplet'"),
    ({"Settings": Wordy}, "its Settings have no number weight_quadruplet for its term 'quadruplet'"),
]
DATASET: list[tuple[dict[str, Any], str]] = [
    ({"split_names": ()}, "its split_names is empty"),
    ({"split_names": "emoji-93"}, "its split_names must be of type tuple, not 'emoji-93'"),
    ({"licence": None}, "its licence must be of type str, not None"),
    ({"recipe": None}, "its recipe must be of type Mapping, not None"),
    ({"locating": ["root"]}, "its locating must be of type frozenset, not ['root']"),
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


@pytest.mark.parametrize("settings", [int, Demanding])
def test_settings_are_a_dataclass_that_needs_no_argument(settings: type) -> None:
    """The registry turns the TypeError into its sentence."""
    with pytest.raises(TypeError):
        METHODS._wrong(type("Subtle", (METHODS.get("ours"),), {"Settings": settings}))


def test_a_protocol_has_fields_of_the_right_type() -> None:
    wrong: Protocol = replace(PROTOCOLS.get("standard"), summary=None)  # type: ignore[arg-type]
    assert PROTOCOLS._wrong(wrong) == "its summary must be of type str, not None"


def test_a_format_is_an_ending_and_a_function_of_a_report() -> None:
    assert FORMATS._wrong(Format("tsv", str)) == ""
    assert FORMATS._wrong(Format(None, str)) == "its ending must be of type str, not None"  # type: ignore[arg-type]
    assert FORMATS._wrong(Format("tsv", lambda: "")) == "its write must be a function of 1 arguments"  # type: ignore
    assert FORMATS._wrong(Format("tsv", None)).startswith("its write must be of type Callable")  # type: ignore[arg-type]


@pytest.mark.parametrize("registry", [KINDS, PICTURES])
def test_a_kind_is_a_function_of_the_source_and_the_options(registry: Any) -> None:
    assert registry._wrong(lambda source, options: []) == registry._wrong(min) == ""
    assert registry._wrong(lambda: []) == "it does not take two arguments, the source and the options"
    assert registry._wrong(Path) == "it is no function"  # a class
