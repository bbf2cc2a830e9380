"""The gallery of generalized retrieval (``--gallery all``): which photos join it, and that none was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.datasets.base import DATASETS
from bench.datasets.folder import Folder, FolderSettings
from bench.datasets.published.request_split import apply_request
from bench.datasets.published.tree_dataset import TreeDataset
from bench.settings.request import Request
from bench.types import Item, Split
from tests.datasets.trees import plant, plant_lists, write

PER_CLASS = 5


def tree(dataset: str, layout_name: str, split: str, **settings: str) -> Callable[[Path], Split]:
    """A synthetic published dataset on disk, with file lists if the layout has any."""

    def made(folder: Path) -> Split:
        kind = DATASETS.get(dataset)
        assert issubclass(kind, TreeDataset)
        layout = next(each for each in kind.layouts if each.name == layout_name)
        plant(folder / kind.titles[0], kind, layout, PER_CLASS)
        plant_lists(folder / kind.titles[0], kind, layout, split)
        return kind(folder, kind.Settings(**settings)).split(split)

    return made


def emoji(folder: Path) -> Split:
    return DATASETS.get("emoji")(folder).split()


def folder_of_ones_own(folder: Path) -> Split:
    for modality in ("sketch", "photo"):
        for number in range(8):
            for image in range(PER_CLASS):
                write(folder / modality / f"class {number}" / f"{image}.png", modality == "sketch")
    return Folder(folder, FolderSettings(root=str(folder), draw=3)).split()


SPLITS: dict[str, Callable[[Path], Split]] = {
    "emoji": emoji,
    "emoji tuning": lambda folder: DATASETS.get("emoji")(folder).split("emoji-93:tuning"),
    "sketchy, every original twice": tree("sketchy", "sake", "sketchy-25", photos="full"),
    "sketchy, unique": tree("sketchy", "sake", "sketchy-21", photos="unique"),
    "tuberlin": tree("tuberlin", "sake", "tuberlin-30"),
    "folder": folder_of_ones_own,
}


@pytest.fixture(scope="module", params=SPLITS)
def split(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Split:
    return SPLITS[request.param](tmp_path_factory.mktemp("data"))


def images(items: Iterable[Item]) -> set[tuple[str, str]]:
    """Photos by class and file name, the same for all copies of a photo."""
    return {(item.class_name, item.path.rpartition("/")[2]) for item in items if item.modality == "photo"}


@pytest.mark.parametrize("rule", ["last", "seen-validation", "oracle"])
@pytest.mark.parametrize("limit", [None, 3])
def test_photos_of_seen_classes_that_nothing_was_trained_on_join_the_gallery(
    split: Split, rule: str, limit: int | None
) -> None:
    unseen_only, everyone = (
        apply_request(split, Request("ours", split.dataset, per_class_limit=limit, gallery=gallery, selection=rule))
        for gallery in ("unseen", "all")
    )
    assert {item.class_name for item in unseen_only.gallery} <= set(split.unseen)
    assert everyone.queries == unseen_only.queries
    assert everyone.gallery[: len(unseen_only.gallery)] == unseen_only.gallery
    joined = everyone.gallery[len(unseen_only.gallery) :]
    assert {item.modality for item in joined} == {"photo"}
    assert {item.class_name for item in joined} == set(everyone.seen)  # each can spare one here
    assert everyone.seen == unseen_only.seen
    assert not set(everyone.seen) & {*everyone.unseen, *everyone.held_out}
    assert set(joined) <= set(unseen_only.train)
    assert not images(joined) & images(everyone.train)
    assert not images(joined) & images(everyone.validation)
    for modality in ("sketch", "photo"):  # both domains are still trained on, every class of them
        assert {item.class_name for item in everyone.train if item.modality == modality} == set(everyone.seen)
    assert everyone.fingerprint != unseen_only.fingerprint


def test_a_fifth_of_each_class_joins_in_any_order_of_the_files(tmp_path: Path) -> None:
    found = folder_of_ones_own(tmp_path)
    generalized = found.generalized()
    assert len(generalized.gallery) - len(found.gallery) == len(found.seen)  # one of five each
    again = replace(found, train=found.train[::-1]).generalized()
    assert set(again.gallery) == set(generalized.gallery)
    assert again.fingerprint == generalized.fingerprint
