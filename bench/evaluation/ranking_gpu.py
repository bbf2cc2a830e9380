"""Ranking on a torch device: products and counting run there, metrics on the CPU.

A score and its gallery position form one 64-bit key; ascending keys are the ranking. The relevant photos' keys are
sorted, every photo is searched among them, and a histogram with its cumulative sum gives the ranks. Products are
float32, never TF32; scores may differ from the CPU's in the last bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bench.embeddings.arrays import Embeddings
from bench.errors import MemoryExhaustedError, UsageError
from bench.evaluation.metrics.base import fill_values
from bench.evaluation.ranking_plan import Plan
from bench.evaluation.ranking_result import Ranking
from bench.evaluation.similarity import measure
from bench.evaluation.ties import Ties
from bench.types import Distance, Doubles

LOW = 2**32  # the position takes the lower half of a key
BYTES_PER_SCORE = 60  # score, keys, places, histogram source and buffers of the sorting
TILE_BYTES = 512 * 2**20  # of the device's memory


def rank_with_torch(
    embeddings: Embeddings,
    metrics: Sequence[str],
    *,
    distance: Distance = "cosine",
    top: int = 0,
    ties: Ties = "index",
    device: str = "cuda",
    progress: Callable[[int, int], None] | None = None,
    eps: float = 0.0,
) -> Ranking:
    """As ``bench.evaluation.ranking.rank``, on ``device``; a tile that does not fit is halved.

    Raises UsageError for a device that torch does not have, MemoryExhaustedError when the gallery or one query does
    not fit, and what ``rank`` raises.
    """
    plan, factors = Plan(embeddings, metrics), measure(embeddings.query, embeddings.gallery, distance, eps=eps)
    queries, photos = len(embeddings.query), embeddings.gallery.shape[0]
    columns = min(top, photos)
    values: Doubles = np.empty((len(plan.metrics), queries))
    best = np.empty((queries, columns), dtype=np.int32)
    size = plan.tile_size(TILE_BYTES, BYTES_PER_SCORE)
    wanted_tf32, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, False
    try:
        target = _device(device)
        vectors = torch.from_numpy(factors.photos(embeddings.gallery[:])).to(target)
        photo_kinds = torch.from_numpy(plan.photo_kinds.astype(np.int64)).to(target)
        held = {name: getattr(factors, name) for name in ("divisor", "scale", "offset", "levels", "kinds")}
        tensors = {name: torch.from_numpy(each).to(target) for name, each in held.items() if each is not None}
        begin = 0
        while begin < queries:
            part = slice(begin, min(begin + size, queries))
            try:
                rows = torch.from_numpy(factors.queries(embeddings.query[part])).to(target)
                kinds = torch.from_numpy(plan.kinds[part]).to(target)
                keys = order_keys(score(rows, vectors, tensors))
                ranks, ends = rank_keys(keys, kinds, photo_kinds, plan.most, ties)
                smallest = torch.topk(keys, columns, dim=1, largest=False).values
                best[part] = torch.remainder(smallest, LOW).to(torch.int32).cpu().numpy()
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                size //= 2
                continue
            fill_values(plan.wanted, ranks.cpu().numpy(), ends.cpu().numpy(), plan.relevant[part], values[:, part])
            begin = part.stop
            if progress is not None:
                progress(begin, queries)
    except torch.OutOfMemoryError as error:
        raise MemoryExhaustedError(
            f"The memory of {device} does not hold {photos} photos and {size} queries at a time: rank on the cpu."
        ) from error
    finally:
        torch.backends.cuda.matmul.allow_tf32 = wanted_tf32
    return Ranking(plan.metrics, values, plan.relevant, embeddings.clusters, best)


def score(rows: Tensor, photos: Tensor, factors: Mapping[str, Tensor]) -> Tensor:
    """Scores float32 [queries, photos] of ``rows`` and ``photos``, float32 [..., width], as ``Measure`` has them.

    ``factors`` are the arrays of the measure, by name.
    """
    scores = rows @ photos.T
    if "levels" in factors:
        scores = factors["levels"][factors["kinds"], scores.long() + factors["levels"].shape[1] // 2]
    for name, apply in (("divisor", Tensor.div_), ("scale", Tensor.mul_), ("offset", Tensor.sub_)):
        if name in factors:
            apply(scores, factors[name])
    return scores


def order_keys(scores: Tensor) -> Tensor:
    """Keys int64 of ``scores`` float32 [queries, photos], ascending by descending score, then position.

    The bits of a float, as an integer, ascend with positive floats and descend with negative ones.
    """
    bits = (0.0 - scores).view(torch.int32).to(torch.int64)  # 0 - 0 is +0 for both zeros
    ascending = torch.where(bits >= 0, bits, -(bits + 2**31) - 1)
    return ascending * LOW + torch.arange(scores.shape[1], device=scores.device)


def rank_keys(keys: Tensor, kinds: Tensor, photo_kinds: Tensor, most: int, ties: Ties) -> tuple[Tensor, Tensor]:
    """Ranks and ends of the relevant photos, int64 [queries, most], as ``close_rows``; later columns are undefined.

    ``keys`` int64 [queries, photos] of ``order_keys``; ``kinds`` int64 [queries], -1 without relevant photo;
    ``photo_kinds`` int64 [photos].
    """
    relevant = kinds[:, None] == photo_kinds[None, :]
    never = torch.iinfo(torch.int64).max
    own = torch.where(relevant, keys, never)
    own = torch.topk(own, most, dim=1, largest=False, sorted=True).values  # [queries, most], padded with never
    by_place = _counted(torch.searchsorted(own, keys), relevant, most)
    # The score part of a key: the searches on its left and right find where its group of equal scores begins and ends.
    level = torch.div(keys, LOW, rounding_mode="floor") * LOW
    own_level = torch.div(own, LOW, rounding_mode="floor") * LOW
    as_high = _counted(torch.searchsorted(own_level, level), relevant, most)
    group_end = torch.searchsorted(own_level, own_level, right=True)
    wrong = {"index": by_place, "pessimistic": as_high}.get(ties)
    if wrong is None:
        wrong = _counted(torch.searchsorted(own_level, level, right=True), relevant, most)
    return wrong + torch.arange(1, most + 1, device=keys.device), as_high + group_end


def _counted(before: Tensor, relevant: Tensor, most: int) -> Tensor:
    """Irrelevant photos before each relevant one, int64 [queries, most].

    ``before`` int64 [queries, photos] counts the relevant photos before each photo.
    """
    histogram = torch.zeros((len(before), most + 1), dtype=torch.int64, device=before.device)
    histogram.scatter_add_(1, before, (~relevant).to(torch.int64))
    return histogram.cumsum(1)[:, :most]


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without the device
        raise UsageError(f"Device {name!r} cannot be used here ({str(error).splitlines()[0]}): try cpu.") from error
