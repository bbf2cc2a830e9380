"""Embeddings of class names by CLIP's text tower, from open_clip (extra ``clip``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import LoadingError, UsageError, missing_extra
from bench.methods.backbone.weights import read_state
from bench.methods.modules.heads import seeded

CLASS = "{class}"  # in a template: the class name
VOCABULARY = 49408  # words of CLIP's tokenizer
SCALE = "logit_scale"
# Of CLIP ViT-B, for random weights.
RANDOM = {"context_length": 77, "vocab_size": VOCABULARY, "width": 512, "layers": 12}
TEMPERATURE = 0.07  # CLIP's before its training
HEAD_WIDTH = 64


def texts_of(classes: Sequence[str], template: str) -> list[str]:
    """The text of each class name, whose ``_`` become spaces.

    Raises UsageError if open_clip is not installed, for a template without ``{class}``, for class names without a
    letter, and for a text that is longer than the tower takes.
    """
    _tokenizer()
    if CLASS not in template:
        raise UsageError(f"Setting 'template' is {template!r}: it needs {CLASS} where the class name stands.")
    nameless = [name for name in classes if not any(map(str.isalpha, name))]
    if nameless:
        raise UsageError(
            f"Class {nameless[0]!r} has no letter, so a text tower learns nothing from it: name the class folders by "
            "what they show, or leave the loss out by --without classification."
        )
    texts = [template.replace(CLASS, name.replace("_", " ")) for name in classes]
    _check_lengths(texts, RANDOM["context_length"])
    return texts


def read_text_tower(weights: str, texts: Sequence[str], *, width: int) -> dict[str, Tensor]:
    """The tensors of a text tower and CLIP's scale, in float32.

    ``weights`` is a file of open_clip or OpenAI with both towers. Raises LoadingError for a file without a text tower
    like CLIP's, or whose embeddings do not have ``width`` numbers, UsageError for a text that is longer than it takes.
    """
    path = Path(weights)
    state, _ = read_state(path)
    own = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection", "logit_scale")
    found = {key: value.float() for key, value in state.items() if key.startswith(own)}
    if not all(any(key.startswith(each) for key in found) for each in own):
        raise LoadingError(
            f"Weights file {path.name} has no text tower: give a CLIP file of open_clip with both towers, or leave the "
            "loss out by --without classification."
        )
    if not _is_clip(found):
        raise LoadingError(
            f"The text tower of weights file {path.name} is not built as CLIP's: give a CLIP file of open_clip, or "
            "leave the loss out by --without classification."
        )
    if found["text_projection"].shape[1] != width:
        raise LoadingError(
            f"Weights file {path.name} embeds texts in {found['text_projection'].shape[1]} numbers and images in "
            f"{width}: give the file of one network."
        )
    _check_lengths(texts, _sizes(found)["context_length"])
    return found


@torch.inference_mode()
def encode_texts(
    texts: Sequence[str], state: Mapping[str, Tensor], *, width: int, quick_gelu: bool
) -> tuple[Tensor, float]:
    """L2-normalised embeddings of texts, float32 [texts, width], and the scale by which CLIP multiplies cosines.

    ``state`` is what ``read_text_tower`` returns, or empty for random weights.
    """
    sizes = _sizes(state) if state else RANDOM
    tower = _tower(sizes, width, quick_gelu).eval()
    if state:
        tower.load_state_dict({key: value for key, value in state.items() if key != SCALE})
    tokens = _tokenizer()(list(texts), context_length=sizes["context_length"])
    longest = int((tokens != 0).sum(dim=1).max())
    tokens = tokens[:, :longest]  # attention is causal: what follows the end of a text has no effect
    tower.attn_mask = tower.attn_mask[:longest, :longest]
    scale = state[SCALE].exp().item() if state else 1 / TEMPERATURE
    return F.normalize(torch.cat([tower(part) for part in tokens.split(64)]), dim=1).float(), float(scale)


def _check_lengths(texts: Sequence[str], context_length: int) -> None:
    most = context_length - 2  # tokens for the start and the end
    tokenise = _tokenizer()
    for text in texts:
        if len(tokenise.encode(text)) > most:
            raise UsageError(
                f"The text {text[:40]!r} ... has more than {most} tokens: shorten the template or the name."
            )


def _is_clip(state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors are those of CLIP's text tower, of any size, with CLIP's vocabulary."""
    if not {"token_embedding.weight", "positional_embedding", "text_projection", SCALE} <= state.keys():
        return False
    sizes = _sizes(state)
    with torch.device("meta"):
        expected = _tower(sizes, state["text_projection"].shape[-1], quick_gelu=False).state_dict()
    shapes = {key: value.shape for key, value in state.items() if key != SCALE}
    return sizes["vocab_size"] == VOCABULARY and shapes == {key: value.shape for key, value in expected.items()}


def _tower(sizes: Mapping[str, int], width: int, quick_gelu: bool) -> Any:
    import open_clip

    act_layer = open_clip.transformer.QuickGELU if quick_gelu else torch.nn.GELU
    with seeded("text tower"):
        return open_clip.transformer.TextTransformer(
            **sizes, heads=max(1, sizes["width"] // HEAD_WIDTH), output_dim=width, act_layer=act_layer
        )


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    vocabulary, width = state["token_embedding.weight"].shape
    layers = {key.split(".")[2] for key in state if key.startswith("transformer.resblocks.")}
    length = state["positional_embedding"].shape[0]
    return {"context_length": length, "vocab_size": vocabulary, "width": width, "layers": len(layers)}


def _tokenizer() -> Any:
    """CLIP's tokenizer; its vocabulary is in the package."""
    try:
        from open_clip.tokenizer import SimpleTokenizer
    except ImportError as error:
        raise missing_extra("A text tower", "clip") from error
    return SimpleTokenizer()
