"""Every registered dataset, every split, every layout: what all of them promise."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.datasets.base import DATASETS, Dataset
from bench.datasets.checks.check import check
from bench.datasets.checks.find_broken_images import check_images
from bench.datasets.folder import Folder, FolderSettings
from bench.datasets.images.decode import decode
from bench.datasets.published.layouts import Layout
from bench.datasets.published.tree_dataset import TreeDataset
from bench.types import Item, Split
from tests.datasets.trees import plant, plant_lists, plant_qmul, write


def cases() -> Iterator[tuple[str, str, str]]:
    """(dataset, layout, split); layout is empty where the data lies in one way alone."""
    for name in DATASETS.names():
        kind = DATASETS.get(name)
        layouts = [layout.name for layout in kind.layouts] if issubclass(kind, TreeDataset) else [""]
        yield from ((name, layout, split) for layout in layouts for split in kind.split_names)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Data roots by dataset and layout."""
    roots: dict[tuple[str, str], Path] = {}
    for name in DATASETS.names():
        kind = DATASETS.get(name)
        for layout in kind.layouts if issubclass(kind, TreeDataset) else ():
            roots[name, layout.name] = tmp_path_factory.mktemp(f"{name}-{layout.name}")
            # The tree of doodle2search spreads over the data root; the others have a folder of their own.
            home = roots[name, layout.name] / ("" if layout.name == "doodle2search" else kind.titles[0])
            plant(home, kind, layout, per_class=1)
            for split in kind.split_names:
                plant_lists(home, kind, layout, split)
    own = tmp_path_factory.mktemp("folder")
    for folder in ("sketch", "photo"):
        for class_name in ("ice cream", "Straße", "東京"):
            write(own / folder / class_name / f"no 1{'-1' * (folder == 'sketch')}.png", folder == "sketch")
    roots["folder", ""] = own
    for name in ("shoev2", "chairv2"):
        roots[name, ""] = tmp_path_factory.mktemp(name)
        plant_qmul(roots[name, ""] / DATASETS.get(name).title)
    return roots


@pytest.fixture
def dataset(request: pytest.FixtureRequest, trees: dict[tuple[str, str], Path], tmp_path: Path) -> Dataset:
    name, layout, _ = request.param
    if name == "folder":
        return Folder(tmp_path, FolderSettings(root=str(trees[name, layout]), unseen="東京,ice cream", name="mine"))
    return DATASETS.get(name)(trees.get((name, layout), tmp_path))


@pytest.mark.parametrize(
    ("dataset", "split_name"),
    [pytest.param(case, case[2], id="-".join(filter(None, case))) for case in cases()],
    indirect=["dataset"],
)
def test_every_split_of_every_layout(dataset: Dataset, split_name: str) -> None:
    split = dataset.split(split_name)
    if isinstance(dataset, TreeDataset):
        assert split.dataset == dataset.name
        assert split.name == split_name
    assert split.zero_shot or split.relevance == "instance"
    for items, modality in ((split.queries, "sketch"), (split.gallery, "photo")):
        assert {item.class_name for item in items} == set(split.unseen)
        assert {item.modality for item in items} == {modality}
    for modality in ("sketch", "photo"):
        assert {item.class_name for item in split.train if item.modality == modality} == set(split.seen)
    assert split == type(dataset)(dataset.data_root, dataset.settings).split(split_name)
    first = (split.queries[0], split.gallery[0])
    assert all(decode(dataset.read(item.path), item.path).shape[0] == 3 for item in first)
    assert check_images(dataset, first).broken == {}
    there = pickle.loads(pickle.dumps(dataset))  # as loader processes get it where they are not forked
    assert there.read(first[0].path) == dataset.read(first[0].path)


@pytest.mark.parametrize(
    ("dataset", "layout"),
    [
        pytest.param((name, layout, split), layout, id=f"{name}-{layout}")
        for name, layout, split in cases()
        if layout and split == DATASETS.get(name).split_names[0]
    ],
    indirect=["dataset"],
)
def test_every_layout_is_recognised_and_complete(dataset: TreeDataset, layout: str) -> None:
    assert dataset.place.layout.name == layout
    findings = check(dataset)
    assert findings.problems == ()
    assert {row.sketches for row in findings.classes} == {len(dataset.place.layout.sketches)}
    assert not findings.survey.foreign
    assert not findings.survey.stray


@pytest.mark.parametrize("name", DATASETS.names())
def test_where_images_lie_is_not_part_of_what_they_are(name: str, tmp_path: Path) -> None:
    dataset = DATASETS.get(name)(tmp_path)
    assert dataset.identity() == DATASETS.get(name)(tmp_path / "moved").identity()
    assert not dataset.identity().keys() & dataset.locating


@pytest.mark.parametrize("name", DATASETS.names())
def test_every_declaration(name: str) -> None:
    kind = DATASETS.get(name)
    assert kind.name == name
    assert kind.summary.endswith(".")
    assert kind.licence
    assert len(set(kind.split_names)) == len(kind.split_names) > 0


def test_layouts_of_one_dataset_have_names_of_their_own() -> None:
    for name in DATASETS.names():
        layouts: tuple[Layout, ...] = getattr(DATASETS.get(name), "layouts", ())
        assert len({layout.name for layout in layouts}) == len(layouts)


def test_a_dropped_image_changes_the_fingerprint(tmp_path: Path) -> None:
    split = DATASETS.get("emoji")(tmp_path).split()
    dropped = split.without([split.gallery[0].path])
    assert len(dropped.gallery) == len(split.gallery) - 1
    assert dropped.fingerprint != split.fingerprint
    assert split.without([]).fingerprint == split.fingerprint


def test_the_name_of_the_gallery_does_not_hide_in_the_fingerprint() -> None:
    item = Item("a", "x", "sketch")
    split = Split("d", "s", (), ("x",), (), (), (item,), (Item("b", "x", "photo"),))
    assert replace(split, gallery_name="unique").fingerprint == split.fingerprint
