"""The search space: what settings declare, and what a file says."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from bench.datasets.base import DATASETS
from bench.errors import UsageError
from bench.experiments.experiment import default_settings
from bench.methods.base import METHODS
from bench.methods.ours import OursSettings
from bench.methods.triplet import TripletSettings
from bench.settings.request import in_text
from bench.settings.run_settings import RunSettings, assign
from bench.tuning.space import declared_space, read_space
from bench.tuning.study import holds
from tests.fenced import ROOT

SETTINGS = (RunSettings(), OursSettings())


@pytest.mark.parametrize("method", METHODS.names())
def test_a_declared_range_is_one_that_the_setting_takes(method: str) -> None:
    for part in (RunSettings(), METHODS.get(method).Settings()):
        for each in fields(part):
            if search := each.metadata.get("search"):
                texts = [f"{each.name}={in_text(value)}" for value in search]
                changed = {getattr(assign([part], [text])[0], each.name) for text in texts}
                assert len(changed) == len(search) > 1
                assert isinstance(search[0], str) or search[0] < search[1]


def test_words_are_tried_each() -> None:
    space = declared_space((RunSettings(), TripletSettings()), ("triplet",), [])
    assert space["mining"] == CategoricalDistribution(("hard", "semi-hard", "all"))
    assert space["rank_by"] == CategoricalDistribution(("embedding", "feature"))


def test_what_settings_declare_without_what_is_given() -> None:
    space = declared_space(SETTINGS, ("quadruplet", "classification"), ["head-lr=0.1"])
    assert "head_lr" not in space
    assert space["lr"] == FloatDistribution(1e-5, 1e-3, log=True)
    # Only the ratio of two weights matters.
    assert "weight_quadruplet" not in space
    assert space["weight_classification"] == FloatDistribution(0.1, 10, log=True)


@pytest.mark.parametrize("name", [name for name in METHODS.names() if METHODS.get(name).terms])
def test_the_space_holds_the_defaults_of_every_method(name: str) -> None:
    """Learning rates of large networks are far below those that the run settings declare."""
    kind = METHODS.get(name)
    run, own = default_settings(kind, DATASETS.get("emoji"), kind.recipe.get("backbone"))
    space = declared_space((run, own), kind.terms, [])
    defaults = vars(run) | vars(own)
    for setting, values in space.items():
        assert holds(values, defaults[setting]), setting
    assert ("weight_decay" in space) == (run.weight_decay > 0)


def test_a_term_that_is_left_out_stays_out() -> None:
    settings = (RunSettings(), OursSettings(weight_preservation=0))
    assert "weight_preservation" not in declared_space(settings, METHODS.get("ours").terms, [])


def test_no_setting_of_a_training_is_searched_where_nothing_is_trained() -> None:
    assert declared_space((RunSettings(),), METHODS.get("hog").terms, []) == {}


def test_a_file_names_the_values(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        'lr = {low = 1e-5, high = 1e-3, log = true}\ndim = {low = 64, high = 512}\nmining = ["hard", "all"]\n'
    )
    assert read_space(file, SETTINGS) == {
        "lr": FloatDistribution(1e-5, 1e-3, log=True),
        "dim": IntDistribution(64, 512),
        "mining": CategoricalDistribution(["hard", "all"]),
    }


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("lr = {low = -1.0, high = 1.0}", "at least 0"),
        ("margn = [0.1, 0.2]", "'margin'"),
        ('mining = ["hard", "soft"]', "'soft'"),
        ("lr = {low = 1e-5}", "lr"),
        ("lr = {low = 1.0, high = 0.5}", "lr"),
        ("lr = 0.1", "lr"),
        ("lr = {low = 0.0, high = 0.5, log = true}", "lr"),
        ("dim = []", "dim"),
        ("", "names no setting"),
        ("lr = ", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "space.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=word):
        read_space(file, SETTINGS)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "results" / "spaces").glob("*.toml")), ids=lambda path: path.stem
)
def test_the_spaces_of_the_results_hold_the_defaults(path: Path) -> None:
    """So the first trial of each method has its default settings."""
    method = METHODS.get(path.stem)
    parts = default_settings(method, DATASETS.get("emoji"), None)
    space, defaults = read_space(path, parts), {**asdict(parts[0]), **asdict(parts[1])}
    for name, values in space.items():
        assert holds(values, defaults[name]), name


def test_the_rate_of_a_frozen_backbone_is_not_searched() -> None:
    lora, emoji = METHODS.get("lora"), DATASETS.get("emoji")
    space = declared_space(default_settings(lora, emoji, None), lora.terms, [])
    assert "lr" not in space
    assert "head_lr" in space
