"""``bench.load_split``: the same classes, images and order as runs, for other people's loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import functional

import bench
from bench.datasets.emoji import Emoji
from bench.datasets.images.decode import decode
from bench.embeddings.arrays import Embeddings
from bench.evaluation.ranking import rank
from tests.pictures import write_folder


def test_it_is_the_split_that_runs_use() -> None:
    split, own = bench.load_split("emoji"), Emoji(Path()).split()
    assert (split.fingerprint, split.seen, split.unseen) == (own.fingerprint, own.seen, own.unseen)
    assert (split.items("queries"), split.items("gallery"), split.items("train")) == (
        own.queries,
        own.gallery,
        own.train,
    )


def test_pictures_and_labels_in_the_order_of_the_split() -> None:
    split = bench.load_split("emoji").limited(1)
    for role, names in (("train", split.seen), ("queries", split.unseen), ("gallery", split.unseen)):
        pictures = split.torch_dataset(role)  # type: ignore[arg-type]
        items = split.items(role)  # type: ignore[arg-type]
        assert len(pictures) == len(items)
        assert [names[label] for label in pictures.labels] == [item.class_name for item in items]
        picture, label = pictures[len(items) - 1]
        assert isinstance(picture, Image.Image)
        assert (picture.mode, names[label]) == ("RGB", items[-1].class_name)
        pixels = decode(split.source.read(items[-1].path), items[-1].path)
        assert (np.asarray(picture) == pixels.permute(1, 2, 0).numpy()).all()


def test_a_limit_is_at_least_one_image() -> None:
    with pytest.raises(bench.BenchError, match="'per_class'"):
        bench.load_split("emoji").limited(0)


def test_a_loader_of_torch_takes_it() -> None:
    pictures = bench.load_split("emoji").limited(1).torch_dataset("gallery", functional.pil_to_tensor)
    images, labels = next(iter(DataLoader(pictures, batch_size=4, num_workers=1)))
    assert (images.shape, images.dtype) == ((4, 3, 128, 128), torch.uint8)
    assert labels.tolist() == pictures.labels[:4]


def test_your_own_folder(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "mine", classes=4, images=2)
    names = sorted(path.name for path in (root / "sketch").iterdir())
    split = bench.load_split("folder", root=root, unseen=names[:2], name="mine")
    assert (split.split.dataset, split.unseen, len(split.items("queries"))) == ("mine", tuple(names[:2]), 4)


def test_labels_are_arguments_of_evaluate() -> None:
    """In a fine-grained split they number instances; intervals are over classes, and a query may see its class only."""
    split = bench.load_split("emoji", split="emoji-93-fine")
    draw = np.random.default_rng(0)
    sides = [draw.normal(size=(len(split.items(role)), 4)) for role in ("queries", "gallery")]  # type: ignore[arg-type]
    result = bench.evaluate(*sides, **split.labels, metrics=["acc@1", "mAP@all:plain"])
    labels = split.split.label_arrays()
    ranking = rank(Embeddings(*(side.astype(np.float32) for side in sides), **labels), ["acc@1"])  # type: ignore[arg-type]
    assert result.scores["acc@1"] == ranking.score("acc@1").value
    assert (result.clusters == ranking.clusters).all()
    assert split.torch_dataset("queries").labels == labels["query_labels"].tolist()


def test_a_mistake_is_a_sentence(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "mine", classes=2, images=1)
    cropped = bench.load_split("folder", root=root, unseen="all", ink_crop=True)
    for wrong, named in (
        (lambda: bench.load_split("emojis"), "'emoji'"),
        (lambda: bench.load_split("emoji", split="emoji-9"), "emoji-93"),
        (lambda: bench.load_split(3), "dataset"),  # type: ignore[arg-type]
        (lambda: bench.load_split("emoji", split=93), "split"),  # type: ignore[arg-type]
        (lambda: bench.load_split("emoji", root=tmp_path), "root"),
        (lambda: bench.load_split("tuberlin", root=tmp_path / "none"), "tuberlin"),
        (lambda: bench.load_split("emoji").torch_dataset("test"), "'queries'|train"),  # type: ignore[arg-type]
        (lambda: cropped.torch_dataset("queries"), "ink_crop"),
    ):
        with pytest.raises(bench.BenchError, match=named):
            wrong()
