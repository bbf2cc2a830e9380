from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.methods.backbone.backbone import PACKAGED, Backbone
from bench.methods.base import TrainingPhotos
from bench.methods.modules.class_knowledge import class_knowledge, knowledge_table, top_classes
from tests.processes import start


def test_the_table_is_the_mean_of_the_softmax_of_each_class() -> None:
    logits = torch.log(torch.tensor([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]]))
    table = knowledge_table(logits, torch.tensor([0, 0, 1]), 2, temperature=1.0, agreement=0)
    assert torch.allclose(table, torch.tensor([[0.5, 0.4, 0.1], [0.1, 0.1, 0.8]]))


def test_temperature_divides_the_logits() -> None:
    logits = torch.tensor([[2.0, 0.0]])
    table = knowledge_table(logits, torch.tensor([0]), 1, temperature=2.0, agreement=0)
    assert torch.allclose(table, torch.softmax(torch.tensor([[1.0, 0.0]]), dim=1))


def test_agreement_drops_photos_that_contradict_the_majority() -> None:
    probabilities = torch.tensor([[0.8, 0.15, 0.05], [0.7, 0.2, 0.1], [0.05, 0.15, 0.8], [0.3, 0.6, 0.1]])
    labels = torch.zeros(4, dtype=torch.int64)
    for agreement, kept in ((0, [0, 1, 2, 3]), (1, [0, 1]), (2, [0, 1, 3]), (3, [0, 1, 2, 3])):
        table = knowledge_table(torch.log(probabilities), labels, 1, temperature=1.0, agreement=agreement)
        assert torch.allclose(table[0], probabilities[kept].mean(dim=0), atol=1e-6)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone(PACKAGED)


def photos(calls: list[int], identity: str = "one") -> TrainingPhotos:
    images = torch.rand(6, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 0, 1, 1, 0])

    def apply(function: Callable[[Tensor], Tensor]) -> Tensor:
        calls.append(1)
        return torch.cat([function(images[:4]), function(images[4:])])

    return TrainingPhotos(apply, labels, tuple(f"p{number}" for number in range(6)), identity)


def table(backbone: Backbone, given: TrainingPhotos, cache: Path, temperature: float = 1.0) -> Tensor:
    return class_knowledge(backbone, given, 2, temperature=temperature, agreement=0, cache_dir=cache)


def prepare(own: str, folder: Path) -> None:
    """Prepare the table as one of two processes, each of which has found nothing in the cache."""
    given = photos([])

    def together(function: Callable[[Tensor], Tensor]) -> Tensor:
        (folder / f"{own}.here").touch()
        while len(list(folder.glob("*.here"))) < 2:
            time.sleep(0.01)
        return given.apply(function)

    both = TrainingPhotos(together, given.labels, given.paths, given.identity)
    torch.save(table(Backbone(PACKAGED), both, folder / "cache"), folder / f"{own}.pt")


def test_two_processes_that_prepare_the_table_at_once_have_the_same_and_leave_it_whole(
    backbone: Backbone, tmp_path: Path
) -> None:
    running = [start(prepare, own, tmp_path) for own in ("one", "two")]
    for each in running:
        each.join(120)
    assert [each.exitcode for each in running] == [0, 0]
    one, two = (torch.load(tmp_path / f"{own}.pt", weights_only=True) for own in ("one", "two"))
    assert torch.equal(one, two)
    assert len(list((tmp_path / "cache" / "knowledge").iterdir())) == 1  # and nothing half written beside it
    calls: list[int] = []
    assert torch.equal(table(backbone, photos(calls), tmp_path / "cache"), one)
    assert not calls


def test_the_table_equals_a_direct_computation_and_is_computed_once(backbone: Backbone, tmp_path: Path) -> None:
    calls: list[int] = []
    given = photos(calls)
    first = table(backbone, given, tmp_path)
    backbone.eval()
    with torch.inference_mode():
        probabilities = given.apply(lambda images: torch.softmax(backbone.classify(backbone(images)), 1))
    direct = torch.stack([probabilities[given.labels == label].mean(dim=0) for label in (0, 1)])
    assert torch.allclose(first, direct, atol=1e-6)
    assert torch.allclose(first.sum(dim=1), torch.ones(2))
    calls.clear()
    assert torch.equal(table(backbone, given, tmp_path), first)
    assert calls == []


def test_other_photos_or_settings_are_another_table(backbone: Backbone, tmp_path: Path) -> None:
    calls: list[int] = []
    table(backbone, photos(calls), tmp_path)
    table(backbone, photos(calls), tmp_path, temperature=2.0)
    table(backbone, photos(calls, identity="two"), tmp_path)
    assert len(calls) == 3


def test_a_damaged_cache_is_computed_again(backbone: Backbone, tmp_path: Path) -> None:
    calls: list[int] = []
    first = table(backbone, photos(calls), tmp_path)
    (path,) = tmp_path.rglob("*.safetensors")
    for damage in (lambda content: content[:100], lambda content: content[:-1] + b"?"):
        path.write_bytes(damage(path.read_bytes()))
        assert torch.equal(table(backbone, photos(calls), tmp_path), first)
    assert len(calls) == 3


def test_the_top_classes_bear_imagenets_names() -> None:
    table = torch.zeros(2, 1000)
    table[0, [407, 656]] = torch.tensor([0.7, 0.3])  # ambulance, minivan
    table[1, [430, 429]] = torch.tensor([0.25, 0.75])  # basketball, baseball
    named = top_classes(table, 2)
    assert [[name for name, _ in row] for row in named] == [["ambulance", "minivan"], ["baseball", "basketball"]]
    assert [value for row in named for _, value in row] == pytest.approx([0.7, 0.3, 0.75, 0.25])


def test_networks_without_a_weights_file_have_tables_of_their_own(tmp_path: Path) -> None:
    """Two draws of random weights, and two networks, are not one because neither has a file."""
    calls: list[int] = []
    tables = []
    for name, seed in (("test_resnet", 0), ("test_resnet", 1), ("test_byobnet", 0), ("test_resnet", 0)):
        torch.manual_seed(seed)
        tables.append(table(Backbone(name, "none"), photos(calls), tmp_path))
    assert len(calls) == 3
    assert torch.equal(tables[0], tables[3])
    assert len({each.numpy().tobytes() for each in tables}) == 3
