"""Every registered method with all its ablations, because it is registered: it trains on real images, and embeds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.datasets.images.loader import Images
from bench.errors import UsageError
from bench.experiments import ablations as sweep
from bench.experiments.embed_split import Embedder
from bench.experiments.execute import build, seeded
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.recipes import with_recipe_named
from bench.experiments.resolve import resolve, settings_of
from bench.methods.base import METHODS, TrainingPhotos
from bench.methods.modules import heads, losses, text_tower
from bench.settings.request import Request
from bench.training.loop import TrainingData, train
from tests.conftest import Quiet, carry_out

STEPS = 8
SMALL = ("image_size=32", "batch_size=16", "per_class=2", "frozen_blocks=5", "rotation=0", "scaling=0", "shift=0")
DEVICE = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_text_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_tower, "RANDOM", {**text_tower.RANDOM, "width": 16, "layers": 1})


def needs_own_backbone(name: str) -> bool:
    """Whether the method brings a large backbone of its own, for which a small vision transformer stands here."""
    return "backbone" in METHODS.get(name).recipe


def small(name: str, resources: Resources, *assignments: str, **changes: object) -> Experiment:
    """The method on 8 seen and 6 unseen classes of `emoji`."""
    tower = ("backbone=test_vit", "weights=none") if needs_own_backbone(name) else ()
    experiment = resolve(Request(name, "emoji", assignments=(*SMALL, *tower, *assignments)), resources)
    split = experiment.split
    seen, unseen = split.seen[:8], split.unseen[:6]
    split = replace(
        split,
        seen=seen,
        unseen=unseen,
        train=tuple(item for item in split.train if item.class_name in seen),
        queries=tuple(item for item in split.queries if item.class_name in unseen),
        gallery=tuple(item for item in split.gallery if item.class_name in unseen),
    )
    return replace(experiment, split=split, **changes)


def losses_while_training(experiment: Experiment, resources: Resources, steps: int = STEPS) -> list[dict[str, float]]:
    """Terms of each of so many steps without augmentation."""
    method = build(experiment, resources, DEVICE)
    images = Images(experiment.dataset, experiment.split.train, experiment.run.image_size)
    data = TrainingData.of(experiment.split, images)
    steps_an_epoch = max(1, len(images) // experiment.run.batch_size)
    run = replace(experiment.run, epochs=steps / steps_an_epoch, schedule="constant", mirror=False)
    positions = data.is_photo.nonzero()[:, 0].tolist()
    paths = tuple(experiment.split.train[p].path for p in positions)

    def apply(function: Callable[[Tensor], Tensor]) -> Tensor:
        return function(next(iter(images.stream([positions]))) / 255.0)

    with seeded(0):
        method.prepare(TrainingPhotos(apply, data.labels[positions], paths, "a test"))
    seen: list[dict[str, float]] = []
    train(
        method,
        data,
        run,
        seed=0,
        device=DEVICE,
        precision="fp32",
        on_step=lambda step, steps, terms: seen.append(dict(terms)),
    )
    return seen


# Steps and learning rates of methods that change little of a network, which is a small random one here.
SLOW: dict[str, tuple[int, tuple[str, ...]]] = {
    "clip-prompt": (24, ("lr=0.05", "head_lr=0.3")),
    "lora": (16, ("head_lr=0.003",)),
    "zse-ret": (24, ("lr=0.001",)),
}


@pytest.mark.parametrize("name", [name for name in METHODS.names() if METHODS.get(name).terms])
def test_every_trained_method_learns(name: str, resources: Resources) -> None:
    count, rates = SLOW.get(name, (STEPS, ()))
    experiment = small(name, resources, "batch_size=32", *rates)  # all classes in every batch, so that steps compare
    steps = losses_while_training(experiment, resources, count)
    assert len(steps) == count
    assert set(steps[0]) == set(experiment.method.default_terms())
    total = [sum(step.values()) for step in steps]
    assert np.mean(total[-count // 4 :]) < 0.95 * np.mean(total[: count // 4])


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_embeds_both_domains(name: str, resources: Resources, quiet: Quiet) -> None:
    experiment = small(name, resources)
    method = build(experiment, resources, DEVICE)
    embedder = Embedder(method, experiment, resources, DEVICE)
    embeddings = embedder.embed_split(quiet)
    assert embedder.embedded == len(embeddings.query) + len(embeddings.gallery)
    assert len(embeddings.query) == len(experiment.split.queries)
    assert len(embeddings.gallery) == len(experiment.split.gallery)
    assert embeddings.gallery.std(axis=0).max() > 0


@pytest.mark.parametrize("name", [name for name in METHODS.names() if METHODS.get(name).uses_backbone])
def test_every_method_takes_a_transformer_at_another_size(name: str, resources: Resources) -> None:
    """Its positions are for 160 pixels; a size that its patches of 16 do not divide is refused."""
    vit = ("backbone=test_vit", "weights=none", "frozen_blocks=-1")
    method = build(small(name, resources, *vit, "image_size=48"), resources, DEVICE).eval()
    embedding = torch.as_tensor(method.embed(torch.rand(2, 3, 48, 48), is_photo=False))
    assert embedding.shape[0] == 2
    assert not torch.allclose(embedding[0], embedding[1])
    with pytest.raises(UsageError, match="--image-size 48 or 64"):
        small(name, resources, *vit, "image_size=50")
    with pytest.raises(UsageError, match="--set test_size=48 or 64"):
        small(name, resources, *vit, "image_size=48", "test_size=50")


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_explains_itself(name: str) -> None:
    method = METHODS.get(name)
    assert method.name == name
    assert method.summary.endswith(".")
    settings = method.Settings()
    assert all(hasattr(settings, f"weight_{term}") for term in method.terms)
    for changes in method.structural.values():
        assert all(getattr(settings, key) != value for key, value in changes.items())
    for recipe in method.recipes:
        request = Request(name, "emoji", assignments=with_recipe_named(name, recipe, ()))
        settings_of(request)  # refuses what is no setting or no value of one
    if method.__module__.startswith("bench.methods.") and name != "ours":  # whose every formula is in docs/method.md
        text = sys.modules[method.__module__].__doc__ or ""
        assert all(word in text for word in ("Paper: ", "Implemented", "Left out")), name


def ablations() -> Iterator[Any]:
    """Each method with each setting change that is one of its ablations: every choice of terms, and structural ones."""
    for name in METHODS.names():
        kind = METHODS.get(name)
        rows = sweep.ablations(name, all_subsets=True)[1:] if len(kind.default_terms()) > 1 else []
        for row in rows:
            changes = {f"weight_{term}": 0.0 for term in row.without}
            yield pytest.param(name, changes, id=f"{name}-without-{'-'.join(row.without)}")
        for title, changed in kind.structural.items():
            yield pytest.param(name, dict(changed), id=f"{name}-{title}")


FULL: dict[tuple[str, tuple[str, ...]], dict[str, float]] = {}  # terms of the first step of each whole method

# What computes a term; in an ablation without the term, all of it fails when it is called.
FUNCTIONS = {
    "quadruplet": (
        "balanced_quadruplet",
        "one_hinge_quadruplet",
        "mixed_triplet",
        "cross_domain_triplet",
        "mined_pairs",
    ),
    "classification": ("normalised_softmax",),
    "preservation": ("preservation", "distillation"),
    "contrastive": ("supervised_contrastive",),
    "pairs": ("mined_pairs",),
    "triplet": ("cross_domain_triplet",),
    "relation": (),  # a part of the method, which is not built
}


@pytest.mark.parametrize(("name", "changes"), list(ablations()))
def test_every_ablation_trains_and_changes_its_term_only(
    name: str, changes: dict[str, Any], resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A teacher with random weights gives the same probabilities for every photo.
    weights = () if "teacher" in changes or needs_own_backbone(name) else ("backbone=test_efficientnet", "weights=none")
    full = small(name, resources, *weights)
    if (name, weights) not in FULL:
        FULL[name, weights] = losses_while_training(full, resources, steps=1)[0]
    ablation = replace(full, own=replace(full.own, **changes))
    assert ablation.ablation != full.ablation == ""
    assert ablation.key != full.key
    terms = set(full.method.default_terms())
    kept = {term for term in terms if getattr(ablation.own, f"weight_{term}") != 0}
    for term in terms - kept:
        for function in FUNCTIONS[term]:
            monkeypatch.setattr(losses, function, not_to_be_called)
    first, last = losses_while_training(ablation, resources, steps=2)
    assert set(first) == set(last) == kept
    # Runs of an ablation are paired: same initial weights and batches, so every other term has the same first value.
    changed = {term for term in kept if first[term] != pytest.approx(FULL[name, weights][term], rel=1e-4)}
    alike = "hinge" in changes  # one hinge is the mean of two while both pull, as in a first step
    assert len(changed) == (1 if kept == terms and not alike else 0)
    assert last != first


@pytest.mark.parametrize(
    ("name", "term"),
    [(n, term) for n, m in METHODS.items() for term in m.default_terms() if len(m.default_terms()) > 1],
)
def test_a_term_left_out_leaves_no_trace(
    name: str, term: str, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    seeded = heads.seeded

    @contextmanager
    def recorded(title: str) -> Iterator[None]:
        drawn.append(title)
        with seeded(title):
            yield

    monkeypatch.setattr(heads, "seeded", recorded)
    experiment = small(name, resources)
    full = build(experiment, resources, DEVICE)
    drawn_by_full = list(drawn)
    drawn.clear()
    own = replace(experiment.own, **{f"weight_{term}": 0.0})
    less = build(replace(experiment, own=own), resources, DEVICE)
    assert drawn == [title for title in drawn_by_full if title != term]
    before, after = full.state_dict(), less.state_dict()
    assert after.keys() <= before.keys()
    assert all(torch.equal(before[key], after[key]) for key in after)
    assert (after.keys() < before.keys()) == (term in drawn_by_full)
    if term == "preservation":
        less.prepare(TrainingPhotos(not_to_be_called, torch.empty(0, dtype=torch.int64), (), "none"))
        assert not hasattr(less, "knowledge")
        assert not hasattr(less, "teacher")


def not_to_be_called(*_: object) -> Any:
    raise AssertionError("a term of weight 0 is not computed")


@pytest.mark.parametrize("name", ["ours", "clip-prompt"])  # the latter draws a text tower while it prepares
def test_the_same_seed_gives_the_same_scores(name: str, resources: Resources, quiet: Quiet) -> None:
    experiment = small(name, resources, run=replace(small(name, resources).run, epochs=0.5))
    first, first_details = carry_out(experiment, resources, quiet, reuse=False)
    torch.manual_seed(1)  # what the caller draws does not matter
    again, again_details = carry_out(experiment, resources, quiet, reuse=False)
    other, _ = carry_out(replace(experiment, seed=1), resources, quiet, reuse=False)
    assert first.scores == again.scores
    assert first_details == again_details
    assert first.scores != other.scores


def test_what_the_cache_holds_is_used_unless_it_is_damaged(tmp_path: Path) -> None:
    resources = Resources(data_root=tmp_path, cache_dir=tmp_path / "cache", device="cpu")
    experiment = small("ours", resources, run=replace(small("ours", resources).run, epochs=0.3))
    first, _ = carry_out(experiment, resources, Quiet())
    observer = Quiet()
    assert carry_out(experiment, resources, observer)[0].scores == first.scores
    assert "training" not in observer.phases
    for folder in ("knowledge", "networks", "embeddings"):
        for file in (tmp_path / "cache" / folder).iterdir():
            file.write_bytes(file.read_bytes()[:-1] + b"?")
    observer = Quiet()
    assert carry_out(experiment, resources, observer)[0].scores == first.scores
    assert "training" in observer.phases
