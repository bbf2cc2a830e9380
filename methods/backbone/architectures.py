"""Networks by timm's names: how one is made, and what can be known of it before a run is entered."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import timm
import torch

from bench.errors import UsageError, nearest
from bench.methods.backbone.blocks import first_blocks
from bench.methods.backbone.classifiers import CLASSES


def check_backbone(name: str) -> None:
    """Raise UsageError, with the nearest name, unless timm has a network of this name."""
    if not timm.is_model(name):
        raise UsageError(
            f"There is no backbone {name!r}. {nearest(name, timm.list_models())} 'bench list backbones' lists them."
        )


def create(name: str) -> Any:
    """timm's network of this name with random weights.

    Of families made for one size of images those that can do otherwise take any: their weights stay those of that
    size, and embeddings of positions are resampled for each image.
    """
    if timm.get_pretrained_cfg(name).fixed_input_size:
        try:
            return timm.create_model(name, pretrained=False, dynamic_img_size=True)
        except TypeError:  # a family without that argument: nothing was drawn yet
            pass
    return timm.create_model(name, pretrained=False)


@lru_cache(maxsize=64)
def check_network(name: str, image_size: int, frozen_blocks: int, taught: tuple[str, ...] = ()) -> None:
    """Raise UsageError unless a run can be made with the network of this name, each in one sentence with the cure.

    It must take images of ``image_size`` pixels, have ``frozen_blocks`` blocks and, where it has loss terms to teach
    (``taught``, their names), an ImageNet classifier. An image without content passes a network without content
    (torch's meta device), which takes some tenths of a second for any network.
    """
    network = _hollow(name)
    if frozen_blocks >= 0:
        first_blocks(network, frozen_blocks)
    native = network.pretrained_cfg["input_size"][-1]
    try:
        classes = _classes(network, image_size)
    except (RuntimeError, AssertionError, ValueError) as error:
        if image_size == native:  # timm's own size: the failure is not of the size, and building it will tell
            return
        raise UsageError(
            f"Backbone {name!r} does not take images of {image_size} pixels: give --image-size {native}, for which it "
            "was made, or take another --backbone."
        ) from error
    if taught and classes != CLASSES:
        raise no_classifier(name, taught)


def no_classifier(name: str, taught: tuple[str, ...] = (), *, on: str = "") -> UsageError:
    """The sentence on a network that does not say (``on`` what is asked) which of ImageNet's classes an image is of."""
    options = " ".join(f"--without {term}" for term in taught)
    return UsageError(
        f"Backbone {name!r} has no classifier of ImageNet's {CLASSES:,} classes{on and f' {on}'}: take another "
        f"--backbone, or leave out the loss that it teaches{options and f' by {options}'}."
    )


@lru_cache(maxsize=4)
def _hollow(name: str) -> Any:
    """A network of shapes alone."""
    with torch.device("meta"):
        return create(name).eval()


@torch.no_grad()
def _classes(network: Any, size: int) -> int:
    """Numbers that a network answers with for an image of ``size`` pixels."""
    with torch.device("meta"):
        return int(network(torch.empty(1, 3, size, size)).shape[-1])
