"""What identifies a run: everything that can change a number, and nothing else."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.datasets.base import Dataset
from bench.errors import DataError, LoadingError, UsageError
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.resolve import resolve
from bench.methods.backbone.backbone import Backbone
from bench.settings.request import Request
from bench.settings.run_settings import RunSettings
from tests.pictures import write_folder

ASKED = Request("ours", "emoji", per_class_limit=1)


@pytest.fixture
def asked(resources: Resources) -> Experiment:
    return resolve(ASKED, resources)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "softmax"},
        {"split": "emoji-93:tuning"},
        {"seed": 1},
        {"without": ("quadruplet",)},
        {"structural": "unbalanced"},
        {"assignments": ("lr=0.001",)},
        {"assignments": ("margin=0.2",)},
        {"assignments": ("photo_share=0.9",)},
        {"assignments": ("batches=images",)},
        {"assignments": ("image_size=64",)},
        {"assignments": ("backbone=resnet18", "weights=none")},
        {"assignments": ("weights=none",)},
        {"assignments": ("backbone=tf_efficientnet_lite0", "instead_of=resnet50")},
        {"assignments": ("codes=itq-train",)},
        {"assignments": ("rerank=icfrr",)},
        {"selection": "oracle"},
        {"selection": "seen-validation"},
        {"gallery": "all"},
        {"per_class_limit": 2},
        {"per_class_limit": None},
    ],
    ids=str,
)
def test_whatever_is_asked_for_changes_the_key(change: dict[str, Any], asked: Experiment, resources: Resources) -> None:
    changed = resolve(replace(ASKED, **change), resources)
    assert changed.key != asked.key
    for facts in (changed.request.to_json(), changed.identity["request"]):
        again = resolve(Request.from_json(json.loads(json.dumps(facts))), resources)
        assert (again.key, again.request) == (changed.key, changed.request)


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cpu"},
        {"workers": 3},
        {"save_topk": 50},
        {"resume": False},
        {"cache_dir": Path("elsewhere")},
        {"data_root": Path("elsewhere")},
    ],
    ids=str,
)
def test_where_and_how_it_is_computed_does_not(change: dict[str, Any], asked: Experiment, resources: Resources) -> None:
    assert resolve(ASKED, replace(resources, **change)).key == asked.key


def test_the_precision_and_the_version_of_the_method_do(
    asked: Experiment, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolve(replace(ASKED, precision="bf16"), resources).key != asked.key
    monkeypatch.setattr(asked.method, "version", asked.method.version + 1)
    newer = resolve(ASKED, resources)
    assert newer.key != asked.key
    assert newer.training_key != asked.training_key


def test_the_names_of_method_and_dataset_count_where_their_settings_are_the_same(asked: Experiment) -> None:
    class Twin(asked.method):  # type: ignore[misc, name-defined]
        name = "twin"

    twin = replace(asked, method=Twin)
    elsewhere = replace(asked, split=replace(asked.split, dataset="other"))
    assert len({each.key for each in (asked, twin, elsewhere)}) == 3
    assert len({each.training_key for each in (asked, twin, elsewhere)}) == 3


def test_a_default_that_is_spelled_out_is_the_same_run(asked: Experiment, resources: Resources) -> None:
    spelled = replace(ASKED, split="emoji-93", assignments=(f"lr={asked.run.lr}", "margin=0.3", "codes=none"))
    assert resolve(spelled, resources).key == asked.key


def test_a_key_does_not_change_unawares(asked: Experiment) -> None:
    """A new setting, or another default, makes every stored result of the method one that nobody asks for any more.

    Where that is meant, write the new key here and say so in the changelog.
    """
    assert asked.key == "1ce260b35f8eee343f9da3faaebc358a0e600dfa2babc3e8841fa8309e6408fd"


def test_a_request_has_absolute_paths_here_and_none_in_the_store(
    resources: Resources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link is not followed: weights are known by the hash in their file's name."""
    monkeypatch.chdir(tmp_path)
    classes = sorted(each.name for each in (write_folder(tmp_path / "pictures", 4, 2) / "photo").iterdir())
    Path("unseen.txt").write_text("\n".join(classes[:2]))
    torch.save(Backbone("resnet18", "none").network.state_dict(), "weights.pth")
    Path("named.pth").symlink_to("weights.pth")
    Path("table.npz").write_bytes(b"table")
    given = ("root=pictures", "unseen=@unseen.txt", "backbone=resnet18", "weights = named.pth", "wordnet=table.npz")
    found = resolve(Request("supcon", "folder", assignments=given), resources)
    chosen = f"unseen={','.join(classes[:2])}"
    paths = {f"root={tmp_path}/pictures", f"weights={tmp_path}/named.pth", f"wordnet={tmp_path}/table.npz"}
    request = found.request
    assert {*request.assignments} >= {chosen, *paths}
    stored = Request.from_json(found.identity["request"])
    assert chosen in stored.assignments
    assert str(tmp_path) not in str(stored)
    assert stored.command() == (
        f"bench run -m supcon -d folder --split {found.split.name} --seed 0 --set {chosen} --set backbone=resnet18 "
        "--set weights=FILE --set wordnet=FILE --set root=PATH"
    )
    monkeypatch.chdir("/")
    assert resolve(request, resources).key == found.key


def test_a_weights_file_counts_by_its_content(resources: Resources, tmp_path: Path) -> None:
    keys = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(seed)
        path = tmp_path / folder / "weights.pth"
        path.parent.mkdir()
        torch.save(Backbone("resnet18", "none").network.state_dict(), path)
        request = replace(ASKED, assignments=("backbone=resnet18", f"weights={path}"))
        keys.append(resolve(request, resources).key)
    assert keys[0] == keys[1] != keys[2]
    with pytest.raises(LoadingError, match=r"none\.pth cannot be loaded .* check --weights"):
        resolve(replace(ASKED, assignments=("weights=none.pth",)), resources).key  # noqa: B018


def test_a_file_that_a_setting_names_counts_by_its_content(resources: Resources, tmp_path: Path) -> None:
    keys = []
    for name, content in (("one", b"a"), ("two", b"a"), ("three", b"b")):
        (tmp_path / name).write_bytes(content)
        keys.append(resolve(Request("supcon", "emoji", assignments=(f"wordnet={tmp_path / name}",)), resources).key)
    assert keys[0] == keys[1] != keys[2]
    with pytest.raises(DataError, match=r"none\.npz cannot be read .* check --set wordnet=FILE"):
        resolve(Request("sake", "emoji", assignments=("wordnet=none.npz",)), resources).key  # noqa: B018


def test_runs_that_differ_after_training_share_the_network(asked: Experiment, resources: Resources) -> None:
    coded = resolve(replace(ASKED, assignments=("codes=itq-train",)), resources)
    assert coded.key != asked.key
    assert coded.training_key == asked.training_key
    assert resolve(replace(ASKED, seed=1), resources).training_key != asked.training_key


def test_pictures_that_change_on_disk_are_trained_on_anew(resources: Resources, tmp_path: Path) -> None:
    """Names alone make the fingerprint where no hash of the data is published: what is kept of it must see more."""
    root = write_folder(tmp_path / "pictures", classes=6, images=2)
    request = Request("imagenet", "folder", assignments=(f"root={root}", "draw=2", "backbone=tf_efficientnet_lite0"))
    before = resolve(request, resources)
    trained_on = before.split.train[0].path
    times = (root / trained_on).stat()
    assert resolve(request, resources).training_key == before.training_key
    os.utime(root / trained_on, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    after = resolve(request, resources)
    assert after.key == before.key
    assert after.training_key != before.training_key
    assert before.dataset.stamp([trained_on]) != before.dataset.stamp([before.split.queries[0].path])
    assert before.dataset.stamp(["no such file"]) == before.dataset.stamp(["no such file"]) != ""


def test_data_that_a_hash_pins_needs_no_stamp(asked: Experiment) -> None:
    assert asked.split.content.startswith("sha256:")
    assert asked.dataset.stamp(item.path for item in asked.split.queries) == ""
    assert type(asked.dataset).stamp is Dataset.stamp


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gallery": "seen"}, "There is no gallery 'seen'. Did you mean 'unseen'?"),
        ({"on_bad_image": "skip"}, "Option --on-bad-image takes error or drop, not 'skip'."),
        ({"selection": "first"}, "There is no selection rule 'first'."),
        ({"assignments": ("photo_share=0.995",)}, "With photo_share=0.995 a batch of 64 images has no sketch"),
        ({"assignments": ("photo_share=0.001", "batches=images")}, "a batch of 64 images has no photo"),
        ({"assignments": ("per_class=33",)}, "A batch of 64 images cannot hold 33 sketches"),
        ({"assignments": ("batches=images", "batch_size=2000")}, "takes 1000 sketches, but the split has"),
        ({"assignments": ("hinge=one", "balanced=false")}, "replaces the quadruplet: choose one"),
        ({"assignments": ("pairs=mathm", "mining=all")}, "MATHM's pairs are mined"),
        (
            {"split": "emoji-93-fine", "assignments": ("photo_share=0.9", "positives=instance")},
            "leave out photo_share and batches",
        ),
        ({"structural": "unbalance"}, "has no structural ablation 'unbalance'. Did you mean 'unbalanced'?"),
    ],
)
def test_mistakes(change: dict[str, Any], message: str, resources: Resources) -> None:
    with pytest.raises((UsageError, DataError)) as caught:
        resolve(replace(ASKED, **change), resources)
    assert message in str(caught.value)


def test_a_batch_of_any_class_may_be_smaller_than_a_class(resources: Resources) -> None:
    assignments = ("batches=images", "batch_size=3")
    assert resolve(replace(ASKED, assignments=assignments), resources).run.batch_size < 2 * RunSettings.per_class
