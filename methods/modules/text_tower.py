"""Embeddings of class names by CLIP's text tower, from open_clip (extra ``clip``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import LoadingError, UsageError, missing_extra
from bench.methods.backbone.weights import read_state
from bench.methods.modules.heads import seeded

CLASS = "{class}"  # in a template: the class name
RANDOM = {"context_length": 77, "vocab_size": 49408, "width": 512, "layers": 12}  # of CLIP ViT-B; for random weights
TEMPERATURE = 0.07  # CLIP's before its training
HEAD_WIDTH = 64


def texts_of(classes: Sequence[str], template: str) -> list[str]:
    """The text of each class name, whose ``_`` become spaces.

    Raises UsageError if open_clip is not installed, for a template without ``{class}``, for class names that are
    numbers, and for a text that is longer than the tower takes.
    """
    tokenise = _tokenizer()
    if CLASS not in template:
        raise UsageError(f"Setting 'template' is {template!r}: it needs {CLASS} where the class name stands.")
    numbers = [name for name in classes if name.replace("_", "").replace("-", "").isdigit()]
    if numbers:
        raise UsageError(
            f"Class {numbers[0]!r} is a number, from which a text tower learns nothing: name the class folders by what "
            "they show, or leave the loss out by --without classification."
        )
    texts = [template.replace(CLASS, name.replace("_", " ")) for name in classes]
    most = RANDOM["context_length"] - 2  # tokens for the start and the end
    for text in texts:
        if len(tokenise.encode(text)) > most:
            raise UsageError(
                f"The text {text[:40]!r} ... has more than {most} tokens: shorten the template or the name."
            )
    return texts


@torch.inference_mode()
def encode_texts(texts: Sequence[str], weights: str, *, width: int, quick_gelu: bool) -> tuple[Tensor, float]:
    """L2-normalised embeddings of texts, float32 [texts, width], and the scale by which CLIP multiplies cosines.

    ``weights`` is a file of open_clip or OpenAI with both towers, or "none" for random weights. Raises LoadingError for
    a file without text tower, or whose embeddings have another width.
    """
    import open_clip

    state = {} if weights == "none" else _text_state(Path(weights), width)
    sizes = _sizes(state) if state else RANDOM
    act_layer = open_clip.transformer.QuickGELU if quick_gelu else torch.nn.GELU
    with seeded("text tower"):
        tower = open_clip.transformer.TextTransformer(
            **sizes, heads=max(1, sizes["width"] // HEAD_WIDTH), output_dim=width, act_layer=act_layer
        ).eval()
    scale = state.pop("logit_scale").exp().item() if state else 1 / TEMPERATURE
    if state:
        tower.load_state_dict(state)
    tokens = _tokenizer()(list(texts), context_length=sizes["context_length"])
    longest = int((tokens != 0).sum(dim=1).max())
    tokens = tokens[:, :longest]  # attention is causal: what follows the end of a text has no effect
    tower.attn_mask = tower.attn_mask[:longest, :longest]
    return F.normalize(torch.cat([tower(part) for part in tokens.split(64)]), dim=1).float(), float(scale)


def _text_state(path: Path, width: int) -> dict[str, Tensor]:
    """The tensors of the text tower and the scale, in float32."""
    state, _ = read_state(path)
    own = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection", "logit_scale")
    found = {key: value.float() for key, value in state.items() if key.startswith(own)}
    if not all(any(key.startswith(each) for key in found) for each in own):
        raise LoadingError(
            f"Weights file {path.name} has no text tower: give a CLIP file of open_clip with both towers, or leave the "
            "loss out by --without classification."
        )
    if found["text_projection"].shape[1] != width:
        raise LoadingError(
            f"Weights file {path.name} embeds texts in {found['text_projection'].shape[1]} numbers and images in "
            f"{width}: give the file of one network."
        )
    return found


def _sizes(state: dict[str, Tensor]) -> dict[str, int]:
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
