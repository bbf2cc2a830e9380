"""Scores of a method that runs elsewhere, stored as a run of it, so that they appear in reports beside the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from bench import provenance
from bench.errors import UsageError
from bench.store import Store
from bench.submissions import Submission
from bench.types import Distance, Score
from methods.base import METHODS


def check_name(name: str) -> None:
    """Raise UsageError unless ``name`` can be that of an external method: printable, and no method of the harness."""
    if not name.strip() or not name.isprintable():
        raise UsageError(f"--as takes the name of a method, not {name!r}.")
    if name in METHODS.names():
        raise UsageError(f"--as {name} is the name of a method of this harness: choose another.")


def store_scores(
    store: Store,
    name: str,
    submission: Submission,
    scores: Sequence[Score],
    *,
    distance: Distance,
    seed: int,
    file_sha256: str,
    device: str,
    seconds: float,
) -> int:
    """Store the scores as a run of the external method ``name``; the id of the run.

    Name, images, distance and seed make one run: scores of new embeddings supersede the old ones. What was embedded is
    told by ``file_sha256``, the hash of the embeddings file.

    Raises StorageError when the database cannot be written.
    """
    asked = {
        "method": name,
        "ablation": "",
        "dataset": submission.dataset,
        "split": submission.split,
        "fingerprint": submission.fingerprint,
        "seed": seed,
        "selection": "last",
        "gallery": "unseen",
        "per_class_limit": None,
    }
    settings = {"run": {}, "method": {"distance": distance}, "dataset": {}}
    text = json.dumps(["external", asked, settings], sort_keys=True)  # both have a key "method"
    configuration = {
        **settings,
        "precision": "",
        "method_version": "",
        "caution": submission.caution,
        "external": {
            "verified": submission.verified,
            "evidence": submission.evidence,
            "gallery_name": submission.gallery_name,
            "file_sha256": file_sha256,
        },
    }
    identity = {
        **asked,
        "key": hashlib.sha256(text.encode()).hexdigest(),
        "configuration": configuration,
        "environment": provenance.collect(device),
    }
    run = store.begin(identity)
    store.finish(run, scores, {"scoring": round(seconds, 2)})
    return run
