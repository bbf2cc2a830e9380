"""Loss terms as pure functions of embeddings; docs/method.md has the formulas."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.settings.run_settings import RunSettings

SOFTNESS = 20  # MATHM's softplus: its slope passes from 0 to 1 within about 1/20 of a distance
LEAST_SLOPE = 0.1  # below it MATHM weights a pair no higher


def normalised_softmax(embedding: Tensor, prototypes: Tensor, labels: Tensor, scale: float) -> Tensor:
    """Semantic classification: cross-entropy over the cosines to one prototype a class, times ``scale``.

    ``embedding`` [batch, dim] and ``prototypes`` [classes, dim] of any length, ``labels`` int64 [batch]; a scalar.
    """
    cosines = F.normalize(embedding, dim=1) @ F.normalize(prototypes, dim=1).T
    return F.cross_entropy(scale * cosines, labels)


def preservation(logits: Tensor, knowledge: Tensor) -> Tensor:
    """Semantic knowledge preservation: cross-entropy of predicted ImageNet probabilities against prepared ones.

    ``logits`` [batch, 1000], ``knowledge`` [batch, 1000] (rows sum to 1); a scalar.
    """
    return -(knowledge * F.log_softmax(logits, dim=1)).sum(dim=1).mean()


def distillation(logits: Tensor, teacher: Tensor, is_photo: Tensor) -> Tensor:
    """Preservation against an online teacher, for photos only: sketches have no target.

    ``logits`` [batch, 1000], ``teacher`` [batch, 1000] (rows of photos sum to 1, those of sketches are not used),
    ``is_photo`` bool [batch]; a scalar, the mean over the photos (0 when there is none).
    """
    photos = teacher[is_photo]
    if len(photos) == 0:
        return logits.sum() * 0
    return preservation(logits[is_photo], photos)


def balanced_quadruplet(
    embedding: Tensor, labels: Tensor, is_photo: Tensor, margin: float, mining: str = "hard"
) -> Tensor:
    """Domain-balanced quadruplet: every image is an anchor, its positive comes from the other domain.

    An anchor's loss is half the hinge against a negative of its own domain plus half the hinge against a negative of
    the other domain, so that neither domain's negatives dominate. Distances are 1 - cosine. ``mining`` "hard" takes the
    farthest positive and the nearest negative of each domain, "all" averages the hinge over all triples of an anchor.
    "semi-hard" averages over its positives, each with the nearest negative that is farther than it, or the farthest if
    none is (Schroff et al., "FaceNet", CVPR 2015). ``embedding`` [batch, dim], ``labels`` int64 [batch], ``is_photo``
    bool [batch]; a scalar, the mean over the anchors that have a positive and a negative of each domain (0 when there
    is none).
    """
    distance, _ = _distances(embedding, labels)
    positive, near, far = quadruplets(labels, is_photo)
    return (_hinge(distance, positive, near, margin, mining) + _hinge(distance, positive, far, margin, mining)) / 2


def one_hinge_quadruplet(
    embedding: Tensor, labels: Tensor, is_photo: Tensor, margin: float, mining: str = "hard"
) -> Tensor:
    """The balanced quadruplet with one hinge around both negatives, so that a far one makes up for a near one.

    margin + d(anchor, positive) - (d(anchor, own negative) + d(anchor, other negative)) / 2, where it is positive.
    Shapes, ``mining`` and anchors as in ``balanced_quadruplet``.
    Source: RAMLN (arXiv 2412.00120), with its weight of the domains at one half.
    """
    distance, _ = _distances(embedding, labels)
    positive, near, far = quadruplets(labels, is_photo)
    usable = positive.any(dim=1)
    if not bool(usable.any()):
        return distance.sum() * 0
    if mining == "semi-hard":
        distance, positive, near, far = (each[usable] for each in (distance, positive, near, far))
        negatives = (_semi_hard(distance, near) + _semi_hard(distance, far)) / 2
        return _mean_of(F.relu(margin + distance - negatives), positive)
    if mining == "hard":
        farthest, nearest = _hardest(distance, positive, near)
        return F.relu(margin + farthest - (nearest + _hardest(distance, positive, far)[1]) / 2).mean()
    hinges = []
    for anchor in usable.nonzero()[:, 0].tolist():  # [positives, own negatives, other negatives] of each
        p, own, other = (distance[anchor][mask[anchor]] for mask in (positive, near, far))
        hinges.append(F.relu(margin + p[:, None, None] - (own[:, None] + other) / 2).mean())
    return torch.stack(hinges).mean()


def anchors_left_out(labels: Tensor, is_photo: Tensor, pairs: str) -> Tensor:
    """Number of images of a batch that lack a positive or a negative, a scalar int64.

    ``pairs`` names the loss: "quadruplet", "mixed" (triplet), "contrastive" (an image needs no negative),
    "cross-domain" (triplet: sketches count, photos are no anchors), or "mathm", where an image needs one of three
    pairs. ``labels`` int64 [batch], ``is_photo`` bool [batch].
    """
    same_class, same_domain = labels[:, None] == labels[None, :], is_photo[:, None] == is_photo[None, :]
    own = same_class & same_domain & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    cross, near, far = same_class & ~same_domain, ~same_class & same_domain, ~same_class & ~same_domain
    needs: dict[str, tuple[tuple[Tensor, ...], ...]] = {
        "quadruplet": ((cross, near, far),),
        "mixed": ((own | cross, near | far),),
        "contrastive": ((own | cross,),),
        "cross-domain": ((cross, far),),
        "mathm": ((own, near), (cross, near), (cross, far)),
    }
    usable = [torch.stack([mask.any(dim=1) for mask in masks]).all(dim=0) for masks in needs[pairs]]
    missing = ~torch.stack(usable).any(dim=0)
    return (missing & ~is_photo if pairs == "cross-domain" else missing).sum()


def count_left_out(run: RunSettings, labels: Tensor, is_photo: Tensor, pairs: str) -> dict[str, Tensor]:
    """``anchors_left_out`` for the training curves; empty for the usual batches, which leave out none."""
    return {} if run.usual_batches else {"anchors left out": anchors_left_out(labels, is_photo, pairs)}


def quadruplets(labels: Tensor, is_photo: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Positives and negatives of each anchor (row), bool [batch, batch]: the positives are of the other domain.

    Negatives of the own domain, then of the other. An anchor without a negative of each domain has no positive here.
    """
    same_class, same_domain = labels[:, None] == labels[None, :], is_photo[:, None] == is_photo[None, :]
    near, far = ~same_class & same_domain, ~same_class & ~same_domain
    anchors = near.any(dim=1) & far.any(dim=1)
    return same_class & ~same_domain & anchors[:, None], near, far


def mixed_triplet(embedding: Tensor, labels: Tensor, margin: float, mining: str = "hard") -> Tensor:
    """The plain batch-hard triplet, which ignores the domains.

    Shapes as in ``balanced_quadruplet``. Source: Hermans et al., "In defense of the triplet loss", 2017.
    """
    distance, same_class = _distances(embedding, labels)
    positive = same_class & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return _hinge(distance, positive, ~same_class, margin, mining)


def cross_domain_triplet(
    embedding: Tensor, labels: Tensor, is_photo: Tensor, margin: float, mining: str = "hard"
) -> Tensor:
    """The triplet that retrieval asks for: a sketch, a photo of its class, a photo of another class.

    Shapes and ``mining`` as in ``balanced_quadruplet``; the mean over the sketches that have both kinds of photo.
    """
    distance, same_class = _distances(embedding, labels)
    across = ~is_photo[:, None] & is_photo[None, :]
    return _hinge(distance, same_class & across, ~same_class & across, margin, mining)


def supervised_contrastive(embedding: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss: cross-entropy of each image of the same class against all others of the batch.

    ``embedding`` [batch, dim] of any length, ``labels`` int64 [batch]; a scalar, the mean over the images with another
    image of their class in the batch (0 if there is none). Source: Khosla et al., "Supervised contrastive learning",
    NeurIPS 2020, equation 2 (the sum over positives outside the logarithm).
    """
    unit = F.normalize(embedding, dim=1)
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    logits = (unit @ unit.T / temperature).masked_fill(itself, -torch.inf)
    positive = (labels[:, None] == labels[None, :]) & ~itself
    usable = positive.any(dim=1)
    if not bool(usable.any()):
        return unit.sum() * 0
    log_share = F.log_softmax(logits[usable], dim=1).masked_fill(~positive[usable], 0)
    return -(log_share.sum(dim=1) / positive[usable].sum(dim=1)).mean()


def cosine_target(embedding: Tensor, target: float) -> Tensor:
    """How far the mean cosine of different images of one domain is from ``target``: a constraint of MCC.

    ``embedding`` [images, dim] of any length; a scalar (0 for fewer than two images).
    """
    images = len(embedding)
    if images < 2:
        return embedding.sum() * 0
    unit = F.normalize(embedding, dim=1)
    return (((unit @ unit.T).sum() - images) / (images * (images - 1)) - target).abs()


def mined_pairs(embedding: Tensor, labels: Tensor, is_photo: Tensor, margin: float, *, weighted: bool = True) -> Tensor:
    """MATHM's three batch-hard pairs of every image, each a triplet loss of its own, balanced by their gradients.

    The pairs: positive and negative of the anchor's own domain; positive of the other, negative of the own; both of the
    other. The last two mine the images of ``balanced_quadruplet``. Distances are Euclidean, of unit vectors. A pair's
    loss is the mean softplus of margin + farthest positive - nearest negative; its slope is the mean gradient of that.
    ``weighted``: each is multiplied by the mean slope of the pairs divided by its own, at least 0.1. The gradient also
    runs through these weights. ``embedding`` [batch, dim], ``labels`` int64 [batch], ``is_photo`` bool [batch]; a
    scalar, the sum over the pairs that an image has (0 when there is none).

    Source: huangzongheng/MATHM b1e298d, ``src/loss.py``, where an image may be its own positive, and a missing index
    gives every pair the sum of the weights; here neither holds.
    """
    cosine_distance, same_class = _distances(embedding, labels)
    distance = (2 * cosine_distance).clamp(min=1e-12).sqrt()
    same_domain = is_photo[:, None] == is_photo[None, :]
    own = same_class & same_domain & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    cross, near, far = same_class & ~same_domain, ~same_class & same_domain, ~same_class & ~same_domain
    mined = [
        _hardest(distance, positive, negative) for positive, negative in ((own, near), (cross, near), (cross, far))
    ]
    excess = [margin + farthest - nearest for farthest, nearest in mined if len(farthest)]
    if not excess:
        return distance.sum() * 0
    pairs = torch.stack([F.softplus(each, beta=SOFTNESS).mean() for each in excess])
    slopes = torch.stack([torch.sigmoid(SOFTNESS * each).mean() for each in excess])
    return (pairs * slopes.mean() / slopes.clamp(min=LEAST_SLOPE)).sum() if weighted else pairs.sum()


def collapsed_pairs(margin: float) -> float:
    """``mined_pairs`` of equal embeddings: three pairs of equal slope, so that weights change nothing."""
    return 3 * math.log1p(math.exp(SOFTNESS * margin)) / SOFTNESS


def _distances(embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    unit = F.normalize(embedding, dim=1)
    return 1 - unit @ unit.T, labels[:, None] == labels[None, :]


def _hinge(distance: Tensor, positive: Tensor, negative: Tensor, margin: float, mining: str) -> Tensor:
    usable = positive.any(dim=1) & negative.any(dim=1)
    if not bool(usable.any()):
        return distance.sum() * 0
    if mining == "hard":
        farthest, nearest = _hardest(distance, positive, negative)
        return F.relu(margin + farthest - nearest).mean()
    distance, positive, negative = distance[usable], positive[usable], negative[usable]
    if mining == "semi-hard":
        return _mean_of(F.relu(margin + distance - _semi_hard(distance, negative)), positive)
    pairs = positive[:, :, None] & negative[:, None, :]
    hinges = F.relu(margin + distance[:, :, None] - distance[:, None, :]) * pairs
    return (hinges.sum(dim=(1, 2)) / pairs.sum(dim=(1, 2))).mean()


def _semi_hard(distance: Tensor, negative: Tensor) -> Tensor:
    """For each image as a positive the distance to its negative, [anchors, batch]; each anchor has a negative."""
    farther = negative[:, None, :] & (distance[:, None, :] > distance[:, :, None])  # [anchors, positives, negatives]
    nearest = torch.where(farther, distance[:, None, :], torch.inf).amin(dim=2)
    farthest = distance.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)
    return torch.where(farther.any(dim=2), nearest, farthest)


def _mean_of(hinges: Tensor, positive: Tensor) -> Tensor:
    """The mean over anchors of the mean over their positives, of [anchors, batch]; a scalar."""
    return ((hinges * positive).sum(dim=1) / positive.sum(dim=1)).mean()


def _hardest(distance: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Distances [anchors] to the farthest positive and the nearest negative of each row that has both."""
    usable = positive.any(dim=1) & negative.any(dim=1)
    distance, positive, negative = distance[usable], positive[usable], negative[usable]
    farthest = distance.masked_fill(~positive, -torch.inf).amax(dim=1)
    return farthest, distance.masked_fill(~negative, torch.inf).amin(dim=1)
