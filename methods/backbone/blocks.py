"""The stem and the blocks of a network in forward order, which ``frozen_blocks`` counts."""

from __future__ import annotations

from typing import Any

from timm.models import group_parameters
from torch import nn

from bench.errors import UsageError
from bench.methods.backbone.classifiers import classifier_layers

STEM = ("conv_stem", "bn1", "conv1", "patch_embed", "stem", "stem_conv")
BLOCKS = ("blocks", "stages", "layer1", "layer2", "layer3", "layer4")


def first_blocks(network: Any, count: int) -> list[nn.Module]:
    """The stem and the first ``count`` blocks of a timm network; raises UsageError when it has fewer."""
    stem, blocks = _by_name(network)
    if not stem or not blocks:
        stem, blocks = _by_timm(network) or (stem or _first_child(network), blocks)
    if count > len(blocks):
        raise UsageError(
            f"Setting 'frozen_blocks' is {count}, but this backbone has {len(blocks)} blocks: lower it, or freeze "
            "nothing by --set frozen_blocks=-1."
        )
    return stem + [module for block in blocks[:count] for module in block]


Groups = tuple[list[nn.Module], list[list[nn.Module]]]  # the stem's modules, and those of each block


def _by_name(network: Any) -> Groups:
    """By the names that most families use."""
    stem = [getattr(network, each) for each in STEM if isinstance(getattr(network, each, None), nn.Module)]
    blocks: list[nn.Module] = []
    for name in BLOCKS:
        for child in getattr(network, name, nn.Sequential()).children():
            blocks += list(child.children()) if isinstance(child, nn.Sequential) else [child]
    return stem, [[each] for each in blocks]


def _first_child(network: Any) -> list[nn.Module]:
    """The first module with parameters, in order of declaration."""
    return [each for each in network.children() if any(True for _ in each.parameters())][:1]


def _by_timm(network: Any) -> Groups | None:
    """By timm's groups for layer-wise learning rate decay; None for the few families without them.

    The first group is the stem. The group of the classifier is no block. A tensor outside modules, such as a position
    embedding, is in no group.
    """
    if not hasattr(network, "group_matcher"):
        return None
    classifier = {id(each) for layer in classifier_layers(network) for each in layer.parameters()}
    of_module = {
        module: {id(each) for each in module.parameters()} for module in network.modules() if module is not network
    }
    groups = []
    for _, parameters in sorted(group_parameters(network, network.group_matcher(), return_values=True).items()):
        group = {id(each) for each in parameters}
        if not group & classifier:
            groups.append([module for module, own in of_module.items() if own and own <= group])
    return (groups[0], groups[1:]) if groups else None
