"""The negatives and positives that miners pick during training, with and without balancing domains.

    python benchmarks/mining.py [--set KEY=VALUE ...] [--epochs N] [--split NAME] [--limit N] [--threads N]

Trains `ours` and `ours unbalanced` on the tuning split of the included dataset, which has no unseen test class. For
each batch it prints the share of anchors

- whose nearest negative is of the anchor's own domain,
- whose farthest positive is of the other domain,
- for which both hinges, or one hinge, of the balanced quadruplet are active.

A batch has equally many negatives of each domain, so that chance is one half. Of the positives, the other domain has
one more.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.experiments.execute import Execution
from bench.experiments.experiment import Experiment, Resources
from bench.experiments.progress import Observer
from bench.experiments.resolve import resolve
from bench.settings.request import Request

PARTS = 6  # lines per training
COLUMNS = ("own-domain negative", "other-domain positive", "both hinges pull", "one hinge pulls")


@torch.no_grad()
def count_choices(embedding: Tensor, labels: Tensor, is_photo: Tensor, margin: float) -> list[float]:
    """Shares of the anchors of a batch in the order of ``COLUMNS``; ``embedding`` is [batch, dim]."""
    unit = F.normalize(embedding, dim=1)
    distance = 1 - unit @ unit.T
    same_class, same_domain = labels[:, None] == labels[None, :], is_photo[:, None] == is_photo[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    infinite = torch.inf

    def nearest(allowed: Tensor) -> tuple[Tensor, Tensor]:
        best = distance.masked_fill(~allowed, infinite).min(dim=1)
        return best.values, best.indices

    _, negative = nearest(~same_class)
    positive = distance.masked_fill(~(same_class & ~itself), -infinite).max(dim=1).indices
    across = distance.masked_fill(~(same_class & ~same_domain), -infinite).amax(dim=1)
    pulls = [margin + across > nearest(~same_class & domain)[0] for domain in (same_domain, ~same_domain)]
    rows = torch.arange(len(labels), device=labels.device)
    shares = (
        same_domain[rows, negative],
        ~same_domain[rows, positive],
        pulls[0] & pulls[1],
        pulls[0] ^ pulls[1],
    )
    return [float(each.float().mean()) for each in shares]


def record_choices(experiment: Experiment, resources: Resources) -> np.ndarray:
    """``count_choices`` of each training step: [steps, columns]."""
    execution = Execution(experiment, resources, Observer(), reuse=False)
    method = execution.method
    shares: list[list[float]] = []
    losses = method.losses

    def record_losses(outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        shares.append(count_choices(outputs["embedding"], labels, is_photo, experiment.own.margin))
        return losses(outputs, labels, is_photo)

    method.losses = record_losses  # type: ignore[method-assign]
    execution.train()
    return np.array(shares)


def main() -> None:
    """Train both methods; print a line for each part of the training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument("--split", default="emoji-93:tuning")
    parser.add_argument("--limit", type=int, help="at most N images per class and modality, for a quick try")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"| {' | '.join(('trained as', 'steps', *COLUMNS))} |")
    print(f"|{' --- |' * (2 + len(COLUMNS))}")
    for structural in ("", "unbalanced"):
        with tempfile.TemporaryDirectory() as folder:
            resources = Resources(data_root=Path(folder), cache_dir=Path(folder), device="cpu")
            assignments = (f"epochs={options.epochs}", *options.assignments)
            request = Request(
                "ours",
                "emoji",
                split=options.split,
                structural=structural,
                assignments=assignments,
                per_class_limit=options.limit,
            )
            choices = record_choices(resolve(request, resources), resources)
        for steps in np.array_split(np.arange(len(choices)), min(PARTS, len(choices))):
            cells = [f"{value:.0%}" for value in choices[steps].mean(axis=0)]
            name = f"ours {structural}".strip()
            print(f"| {name} | {steps[0] + 1}-{steps[-1] + 1} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
