"""What a miner of the mixed batch picks, step by step: why the domain-balanced choice of quadruplets does what it does.

    python benchmarks/mining.py [--set KEY=VALUE ...] [--epochs N] [--split NAME] [--limit N] [--threads N]

Trains `ours` and `ours unbalanced` on the embedded dataset's tuning split, which has no unseen class of the test in it,
and looks at every batch as both miners would. Of the anchors of a batch: in how many the nearest negative is of the
anchor's own domain, in how many the farthest positive is of the other, and in how many both hinges of the balanced
quadruplet pull (the mixed triplet has one). A batch holds as many negatives of either domain, so that a miner that does
not see domains picks half of them from each; positives are one more of the other domain than of the own.
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
from bench.experiments.progress import NoObserver
from bench.experiments.resolve import resolve
from bench.settings.request import Request

PARTS = 6  # of a training, each a line
COLUMNS = ("own-domain negative", "other-domain positive", "both hinges pull", "one hinge pulls")


@torch.no_grad()
def choices(embedding: Tensor, labels: Tensor, is_photo: Tensor, margin: float) -> list[float]:
    """Shares of the anchors of a batch, in the order of ``COLUMNS``: of embeddings [batch, dim]."""
    unit = F.normalize(embedding, dim=1)
    distance = 1 - unit @ unit.T
    same_class, same_domain = labels[:, None] == labels[None, :], is_photo[:, None] == is_photo[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    infinite = torch.inf

    def nearest(allowed: Tensor) -> tuple[Tensor, Tensor]:
        found = distance.masked_fill(~allowed, infinite).min(dim=1)
        return found.values, found.indices

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


def watched(experiment: Experiment, resources: Resources) -> np.ndarray:
    """``choices`` of every step of a training: [steps, columns]."""
    execution = Execution(experiment, resources, NoObserver(), reuse=False)
    method = execution.method
    seen: list[list[float]] = []
    losses = method.losses

    def looked_at(outputs: Mapping[str, Tensor], labels: Tensor, is_photo: Tensor) -> dict[str, Tensor]:
        seen.append(choices(outputs["embedding"], labels, is_photo, experiment.own.margin))
        return losses(outputs, labels, is_photo)

    method.losses = looked_at  # type: ignore[method-assign]
    execution.train()
    return np.array(seen)


def main() -> None:
    """Train both, print a line for each part of the training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", dest="assignments", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--epochs", type=float, default=4.0)
    parser.add_argument("--split", default="emoji-93:tuning")
    parser.add_argument("--limit", type=int, help="images a class and modality, for a quick try")
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
            shares = watched(resolve(request, resources), resources)
        for steps in np.array_split(np.arange(len(shares)), min(PARTS, len(shares))):
            cells = [f"{value:.0%}" for value in shares[steps].mean(axis=0)]
            name = f"ours {structural}".strip()
            print(f"| {name} | {steps[0] + 1}-{steps[-1] + 1} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
