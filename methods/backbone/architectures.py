"""Create timm networks by name, and check before a run what a network supports."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from bench.errors import UsageError, nearest
from bench.methods.backbone.blocks import first_blocks
from bench.methods.backbone.classifiers import CLASSES


def check_backbone(name: str) -> None:
    """Raise UsageError, with the nearest name, unless timm has a network of this name."""
    if not timm.is_model(name):
        raise UsageError(
            f"There is no backbone {name!r}. {nearest(name, timm.list_models())} 'bench list backbones' lists them."
        )


def find_backbones(pattern: str) -> list[str]:
    """timm's names that match a pattern such as ``resnet*``; raises UsageError, with the nearest name, without any."""
    if found := timm.list_models(pattern):
        return list(found)
    raise UsageError(f"There is no backbone {pattern!r}. {nearest(pattern, timm.list_models())}")


def create(name: str) -> Any:
    """timm's network of this name with random weights.

    Families with a fixed image size take any size where timm supports that: it resamples position embeddings to each
    image.
    """
    if timm.get_pretrained_cfg(name).fixed_input_size:
        try:
            return timm.create_model(name, pretrained=False, dynamic_img_size=True)
        except TypeError:  # a family without that argument; no weights were drawn yet
            pass
    return timm.create_model(name, pretrained=False)


@lru_cache(maxsize=64)
def check_network(
    name: str, image_size: int, frozen_blocks: int, terms: tuple[str, ...] = (), option: str = "--image-size "
) -> None:
    """Raise UsageError unless a run can use this network.

    It must take images of ``image_size`` pixels, have ``frozen_blocks`` blocks, and have an ImageNet classifier if loss
    ``terms`` need one; ``option`` gave the size. The check runs on torch's meta device and takes some
    tenths of a second.
    """
    network = _create_on_meta(name)
    if frozen_blocks >= 0:
        first_blocks(network, frozen_blocks)
    native = network.pretrained_cfg["input_size"][-1]
    patch = network.patch_embed.patch_size[0] if isinstance(network, VisionTransformer) else 1
    if image_size % patch:
        fitting = max(patch, image_size // patch * patch)
        raise UsageError(
            f"Backbone {name!r} cuts images into patches of {patch} pixels, which do not divide {image_size}: give "
            f"{option}{fitting} or {fitting + patch}."
        )
    try:
        classes = _classes(network, image_size)
    except (RuntimeError, AssertionError, ValueError) as error:
        if image_size == native:  # not the size's fault: building the network will raise the error
            return
        raise UsageError(
            f"Backbone {name!r} does not take images of {image_size} pixels: give {option}{native}, for which it "
            "was made, or take another --backbone."
        ) from error
    if terms and classes != CLASSES:
        raise no_classifier(name, terms)


def check_transformer(name: str, method: str) -> Any:
    """The network on torch's meta device; raises UsageError unless it is one of timm's vision transformers."""
    network = _create_on_meta(name)
    if not isinstance(network, VisionTransformer):
        raise UsageError(
            f"Method {method!r} needs a vision transformer, and {name!r} is none: give a --backbone such as "
            "vit_base_patch16_224."
        )
    return network


def no_classifier(name: str, terms: tuple[str, ...] = (), *, kind: str = "classifier") -> UsageError:
    """The error for a network without an ImageNet classifier (or that ``kind`` of one), which loss ``terms`` need."""
    options = " ".join(f"--without {term}" for term in terms)
    return UsageError(
        f"Backbone {name!r} has no {kind} of ImageNet's {CLASSES:,} classes: choose another --backbone, or leave out "
        f"the loss that needs it{options and f', by {options}'}."
    )


@lru_cache(maxsize=4)
def _create_on_meta(name: str) -> Any:
    """The network on torch's meta device: shapes without data."""
    with torch.device("meta"):
        return create(name).eval()


@torch.no_grad()
def _classes(network: Any, size: int) -> int:
    """Number of outputs of the network for an image of ``size`` pixels."""
    with torch.device("meta"):
        return int(network(torch.empty(1, 3, size, size)).shape[-1])
