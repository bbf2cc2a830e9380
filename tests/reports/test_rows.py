"""Which runs are seeds of one row, which rows belong together, and which of many are shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.reports.ablation import ablation_tables
from bench.reports.base import Options
from bench.reports.cells import select_rows
from bench.reports.rows import Source
from bench.results.store import Store
from bench.statistics.intervals import class_sums
from bench.statistics.significance import compare, holm
from tests.reports.filling import fill


def test_rows_of_an_ablation_are_one_family_of_tests_whatever_seeds_they_have(store: Store) -> None:
    ablations = {"without quadruplet": (3, 0.585), "without preservation": (2, 0.58), "unbalanced": (1, 0.59)}
    for seed in range(3):
        fill(store, level=0.6, seed=seed)
    for name, (seeds, level) in ablations.items():
        for seed in range(seeds):
            fill(store, level=level, seed=seed, ablation=name)
    source = Source(store, store.runs())
    (table,) = ablation_tables(source, Options())
    rows = {row.name: row for row in source.groups[0].rows}
    per_query = source.per_query(rows["ours"].runs[0].id)
    full = source.values(rows["ours"], "mAP@all:plain")
    assert per_query is not None
    assert full is not None
    raw = []
    for name, (seeds, _) in ablations.items():
        mine = source.values(rows[f"ours {name}"], "mAP@all:plain")
        assert mine is not None
        pair = (class_sums(each, per_query.labels, "queries") for each in (mine, full[:seeds]))
        raw.append(compare(*pair, np.random.default_rng(0)).p)
    printed = {row[0].removeprefix("ours "): float(row[5]) for row in table.rows[1:]}
    expected = dict(zip(ablations, holm(raw), strict=True))
    assert printed == {name: pytest.approx(p, abs=6e-4) for name, p in expected.items()}
    assert max(printed[name] - p for name, p in zip(ablations, raw, strict=True)) > 0.05  # one family, not three
    assert "adjusted after Holm for the 3 rows" in table.notes[1]


def test_the_row_of_an_ablation_does_not_depend_on_the_others(store: Store) -> None:
    for seed in range(2):
        fill(store, level=0.6, seed=seed)
        fill(store, level=0.58, seed=seed, ablation="without preservation")
    (alone,) = ablation_tables(Source(store, store.runs()), Options())
    fill(store, level=0.57, ablation="without classification")  # comes first in the family
    (both,) = ablation_tables(Source(store, store.runs()), Options())
    (row,) = [row for row in both.rows if row[0] == alone.rows[1][0]]
    assert row[:5] == alone.rows[1][:5]
    assert "interval over classes and trainings." in alone.notes[0]
    assert "over classes and trainings (rows with one shared seed: classes only; p likewise)." in both.notes[0]


def test_the_interval_of_one_seed_covers_classes_only(store: Store) -> None:
    fill(store, level=0.6)
    fill(store, level=0.58, ablation="without preservation")
    (table,) = ablation_tables(Source(store, store.runs()), Options())
    assert "interval over classes only, not trainings, because there is one seed; p likewise." in table.notes[0]


def test_rows_of_before_a_setting_was_there_have_a_name_of_their_own(store: Store) -> None:
    fill(store, level=0.5, configuration={"run": {}, "method": {"margin": 0.3}})
    fill(store, level=0.6, configuration={"run": {}, "method": {"margin": 0.3, "scale": 16.0}})
    (group,) = Source(store, store.runs()).groups
    assert sorted(row.name for row in group.rows) == ["ours", "ours (scale 16)"]


def test_an_ablation_is_compared_with_the_full_method_of_the_same_settings_only(store: Store) -> None:
    def of(margin: float, weight: float, **rest: Any) -> dict[str, Any]:
        own = {"margin": margin, "weight_quadruplet": weight}
        return {"configuration": {"run": {"lr": 3e-4}, "method": own, "caution": "", **rest}}

    fill(store, level=0.6, **of(0.3, 1.0))
    fill(store, level=0.5, ablation="without quadruplet", **of(0.3, 0.0, ablated=["weight_quadruplet"]))
    fill(store, level=0.4, ablation="without quadruplet", **of(0.9, 0.0, ablated=["weight_quadruplet"]))
    fill(store, level=0.4, ablation="without quadruplet", **of(0.8, 0.0))  # of before ablations noted their settings
    other = {"precision": "bf16", "ablated": ["weight_quadruplet"]}
    fill(store, level=0.4, ablation="without quadruplet", **of(0.3, 0.0, **other))
    (table,) = ablation_tables(Source(store, store.runs()), Options())
    assert len(table.rows) == 2
    assert table.rows[1][2] == "0.511"


@pytest.mark.parametrize(
    ("other", "setting"),
    [
        ({"precision": "bf16"}, "precision bf16"),
        ({"method_version": 2}, "method_version 2"),
        ({"post": {"rerank": "icfrr", "rerank_passes": 9}}, "rerank_passes 9"),
        ({"dataset": {"ink_crop": True}}, "ink_crop true"),
    ],
)
def test_runs_that_were_computed_otherwise_are_no_seeds_of_one_row(
    other: dict[str, Any], setting: str, store: Store
) -> None:
    plain: dict[str, Any] = {"run": {}, "method": {}, "dataset": {"ink_crop": False}}
    if "post" in other:
        plain["post"] = {"rerank": "icfrr"}
    fill(store, level=0.5, configuration=plain)
    fill(store, level=0.6, configuration={**plain, **other})
    (group,) = Source(store, store.runs()).groups
    assert [len(row.runs) for row in group.rows] == [1, 1]
    assert any(row.name.endswith(f"({setting})") for row in group.rows)


def test_what_is_shown_of_many_rows_are_methods_before_ablations(store: Store) -> None:
    for place, method in enumerate(("imagenet", "sake", "softmax", "ours")):
        fill(store, level=0.3 + 0.1 * place, method=method)
    for part in ("quadruplet", "classification", "preservation"):
        fill(store, level=0.7, ablation=f"without {part}")
    (group,) = Source(store, store.runs()).groups
    assert [row.name for row in select_rows(group.rows, 4)] == ["ours", "softmax", "sake", "imagenet"]
    five = [row.name for row in select_rows(group.rows, 5)]
    assert five[0].startswith("ours without")
    assert five[1:] == ["ours", "softmax", "sake", "imagenet"]
    assert [row.name for row in select_rows(group.rows, 2)] == ["ours", "imagenet"]


def test_a_frozen_network_is_a_row_under_its_backbones_name(store: Store) -> None:
    """The default backbones of datasets stay `imagenet`, as in stored runs of older versions."""
    for seed, backbone in enumerate(("tf_efficientnet_lite0", "tf_efficientnet_lite1", "vit_base_patch14_dinov2")):
        settings = {"run": {"lr": 3e-4, "backbone": backbone}, "method": {}, "caution": ""}
        fill(store, level=0.2, seed=seed, method="imagenet", configuration=settings)
    (group,) = Source(store, store.runs()).groups
    assert {row.name for row in group.rows} == {
        "imagenet",
        "frozen tf_efficientnet_lite1",
        "frozen vit_base_patch14_dinov2",
    }
    assert all(run.method == "imagenet" for run in group.runs)


@pytest.mark.parametrize(
    ("networks", "names"),
    [
        (
            [("lite0", ""), ("lite1", "sha256:" + "a" * 64)],
            {"ours (backbone lite0)", "ours (backbone lite1)"},  # each backbone has its weights
        ),
        (
            [("lite0", ""), ("lite0", "sha256:" + "a" * 64), ("lite1", "none")],
            {
                "ours (backbone lite0, weights default)",
                "ours (backbone lite0, weights aaaaaaaaaaaa)",
                "ours (backbone lite1, weights none)",
            },
        ),
        ([("lite0", "none"), ("lite0", "sha256:" + "a" * 64)], {"ours (weights none)", "ours (weights aaaaaaaaaaaa)"}),
    ],
    ids=["of the backbone", "of several", "of one backbone"],
)
def test_a_name_has_the_weights_where_the_backbone_does_not_tell_them(
    networks: list[tuple[str, str]], names: set[str], store: Store
) -> None:
    for backbone, weights in networks:
        run = {"lr": 3e-4, "backbone": backbone, "weights": weights}
        fill(store, level=0.6, configuration={"run": run, "method": {}, "caution": ""})
    assert {row.name for row in Source(store, store.runs()).groups[0].rows} == names
