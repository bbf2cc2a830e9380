"""A training on batches of unequal domains, from the setting to what is stored."""

from __future__ import annotations

import pytest

from bench.experiments.experiment import Resources
from bench.experiments.resolve import resolve
from bench.methods.base import METHODS
from bench.results import details
from bench.settings.request import Request
from tests.conftest import Quiet, carry_out

SMALL = ("image_size=32", "epochs=0.1", "backbone=test_efficientnet", "weights=none", "weight_preservation=0")


@pytest.mark.parametrize(
    ("changed", "least", "most"),
    [
        (("photo_share=0.9",), 32, 48),  # six classes of 16 have a sketch: 24 anchors, less one or two by chance
        (("photo_share=0.9", "balanced=false"), 0, 0),
        (("photo_share=0.1", "pairs=cross-domain"), 40, 58),
        (("batches=images", "pairs=mathm"), 20, 64),
    ],
)
def test_anchors_left_out_are_shown_and_stored(
    changed: tuple[str, ...], least: int, most: int, resources: Resources, quiet: Quiet
) -> None:
    experiment = resolve(Request("ours", "emoji", assignments=(*SMALL, *changed), per_class_limit=1), resources)
    _, packed = carry_out(experiment, resources, quiet, reuse=False)
    shown = [terms["anchors left out"] for terms in quiet.terms]
    stored = [point["anchors left out"] for point in details.history(packed[details.HISTORY])]
    assert shown == stored
    assert all(least <= count <= most for count in shown)


@pytest.mark.parametrize(
    ("name", "changed", "least", "most"),
    [
        ("triplet", ("photo_share=0.1",), 40, 40),  # of 58 sketches 18 are of the six classes with a photo
        ("clip-prompt", ("photo_share=0.1", "weight_classification=0"), 40, 40),
        ("lora", ("photo_share=0.1", "rank=2"), 40, 40),
        ("zse-ret", ("photo_share=0.1", "per_class=1"), 52, 52),  # six classes of 32 have a sketch and a photo
        ("supcon", ("batches=images",), 40, 64),  # 64 images of 313 classes
        ("mathm", ("batches=images",), 20, 64),
    ],
)
def test_every_method_counts_the_anchors_that_its_loss_leaves_out(
    name: str, changed: tuple[str, ...], least: int, most: int, resources: Resources, quiet: Quiet
) -> None:
    network = "test_vit" if "backbone" in METHODS.get(name).recipe else "test_efficientnet"
    small = ("image_size=32", "epochs=0.05", f"backbone={network}", "weights=none", "batch_size=64")
    experiment = resolve(Request(name, "emoji", assignments=(*small, *changed), per_class_limit=1), resources)
    carry_out(experiment, resources, quiet, reuse=False)
    assert quiet.terms
    assert all(least <= terms["anchors left out"] <= most for terms in quiet.terms)


def test_settings_say_how_many_images_of_each_domain(resources: Resources) -> None:
    unequal = resolve(Request("ours", "emoji", assignments=(*SMALL, "photo_share=0.9")), resources)
    assert unequal.identity["configuration"]["batch"] == {"sketches": 6, "photos": 58}
    assert unequal.identity["configuration"]["run"]["photo_share"] == 0.9
    usual = resolve(Request("ours", "emoji", assignments=(*SMALL, "photo_share=0.5")), resources)
    assert usual.key == resolve(Request("ours", "emoji", assignments=SMALL), resources).key
    assert "photo_share" not in usual.identity["configuration"]["run"]  # keys of stored runs stay
