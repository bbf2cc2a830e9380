"""ZSE-SBIR's parts: pairs of a batch by loops, exchanged queries and relation scores by hand, sizes of its code."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bench.methods.modules.cross_attention import CrossAttention, RelationNetwork, pairs_of_sketches


def test_pairs_are_a_photo_of_the_class_and_one_of_another() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 0, 0, 1, 3, 1])
    is_photo = torch.tensor([False, False, False, False, False, True, True, True, True, True])
    sketch, positive, negative = (each.tolist() for each in pairs_of_sketches(labels, is_photo))
    assert sketch == [0, 1, 2, 3]  # class 2 has no photo
    assert positive == [5, 6, 7, 9]  # the n-th sketch of a class gets its n-th photo
    assert all(is_photo[n] and labels[n] != labels[s] for s, n in zip(sketch, negative, strict=True))
    assert len(set(negative)) > 1
    one_class = pairs_of_sketches(torch.zeros(4, dtype=torch.int64), torch.tensor([False, False, True, True]))
    assert [len(each) for each in one_class] == [0, 0, 0]


def attention_by_hand(layer: nn.MultiheadAttention, queries: Tensor, own: Tensor) -> Tensor:
    width, heads = own.shape[-1], layer.num_heads
    weights, biases = layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3)
    q, k, v = (x @ w.T + b for x, w, b in zip((queries, own, own), weights, biases, strict=True))
    parts = []
    for head in range(heads):
        columns = slice(head * width // heads, (head + 1) * width // heads)
        shares = torch.softmax(q[:, columns] @ k[:, columns].T / math.sqrt(width // heads), dim=1)
        parts.append(shares @ v[:, columns])
    return layer.out_proj(torch.cat(parts, dim=1))


def test_each_domain_is_asked_by_the_other() -> None:
    torch.manual_seed(0)
    network = CrossAttention(16).eval()
    sketches, photos = torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    for found, layer, own, other in zip(
        network(sketches, photos), (network.sketch, network.photo), (sketches, photos), (photos, sketches), strict=True
    ):
        for row in range(2):
            x = layer.norm1(own[row] + attention_by_hand(layer.attention, other[row], own[row]))
            x = layer.norm2(x + layer.output(torch.relu(layer.hidden(x))))
            torch.testing.assert_close(found[row], x)


def test_relation_scores_are_those_of_all_places() -> None:
    torch.manual_seed(0)
    network = RelationNetwork(8, side=4).eval()
    sketch, photo = torch.randn(1, 16, 8), torch.randn(1, 16, 8)

    def places(tokens: Tensor) -> list[Tensor]:
        weight, bias = network.halved.weight, network.halved.bias
        grid = tokens[0].reshape(4, 4, 8)
        return [
            sum((weight[:, :, i, j] @ grid[2 * y + i, 2 * x + j] for i in range(2) for j in range(2)), start=bias)
            for y in range(2)
            for x in range(2)
        ]

    cosines = torch.stack([torch.cosine_similarity(a, b, dim=0) for a in places(sketch) for b in places(photo)])
    torch.testing.assert_close(network(sketch, photo)[0], torch.sigmoid(network.perceptron(cosines))[0])


def test_sizes_are_those_of_the_published_code() -> None:
    """``model/rn.py``: a perceptron of 2401-343-49-1 for 14x14 patches; ``model/model.py``: 2x2 to 512 channels."""
    with torch.device("meta"):
        relation, attention = RelationNetwork(768, side=14), CrossAttention(768)
    layers = [each for each in relation.perceptron if isinstance(each, nn.Linear)]
    assert [(each.in_features, each.out_features) for each in layers] == [(2401, 343), (343, 49), (49, 1)]
    assert tuple(relation.halved.weight.shape) == (512, 768, 2, 2)
    layer = 4 * (768 * 768 + 768) + (768 * 1024 + 1024) + (1024 * 768 + 768) + 2 * 2 * 768
    assert sum(each.numel() for each in attention.parameters()) == 2 * layer
