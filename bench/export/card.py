"""The model card of an exported network: README.md with the metadata that model hubs read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from bench.evaluation.metrics.base import main_metrics
from bench.experiments.experiment import Experiment
from bench.methods.backbone.published_weights import PACKAGES, PUBLISHED
from bench.results import details
from bench.results.models import RunRecord
from bench.settings.request import HASH, Request
from bench.settings.selection_rules import selection
from bench.statistics.intervals import Interval, class_sums, interval

TASK = "Zero-shot sketch-based image retrieval"
LOAD_ONNX = """```python
import json

import numpy as np
import onnxruntime
from PIL import Image

facts = json.load(open("preprocessing.json"))


def embed(paths, modality):  # "sketch" or "photo"
    images = []
    for path in paths:
        image = Image.open(path).convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
        image = image.resize(facts["resize"]["size"], Image.Resampling.BILINEAR)
        images.append(np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255)
    session = onnxruntime.InferenceSession(facts["files"][modality])
    return session.run(["embeddings"], {"images": np.stack(images)})[0]
```"""
LOAD_SAFETENSORS = """```python
import bench
import torch

network = bench.load_network("model.safetensors")
images = torch.stack([network.preprocess(path, sketch=True) for path in ("sketch.png",)])
embeddings = network.embed_sketches(images)
```

`bench run --checkpoint model.safetensors -d DATASET` scores it on any dataset."""


def make_card(run: RunRecord, experiment: Experiment, per_query: bytes | None, width: int, format: str) -> str:
    """The card of a run whose embeddings have ``width`` numbers; without ``per_query`` there are no intervals."""
    title = f"{run.title} on {run.split}"
    values = details.per_query(per_query) if per_query is not None else None
    figures = [(metric, _interval(run, values, metric)) for metric in main_metrics(experiment.split.relevance)]
    figures = [(metric, found) for metric, found in figures if not np.isnan(found.mean)]
    weights, data = describe_weights(run), experiment.dataset.licence
    head = {
        "license": "other",
        "license_name": "see-the-section-licence",
        "library_name": "onnx" if format == "onnx" else "zs-sbir-bench",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["sketch-based-image-retrieval", "zero-shot", run.method],
        "datasets": [run.dataset],
        "metrics": [metric for metric, _ in figures],
        "model-index": [{"name": title, "results": [_result(run, figures)]}],
    }
    command = Request.from_json(run.request).command()
    lines = ["---", *(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in head.items()), "---"]
    lines += ["", f"# {title}", "", *_about(run, experiment, width)]
    lines += ["", "## Figures", "", *_table(run, figures), "", "## How to load it", ""]
    lines += [LOAD_ONNX if format == "onnx" else LOAD_SAFETENSORS]
    lines += ["", "`preprocessing.json` has what must be done to an image first.", "", "## How it was trained", ""]
    lines += ["```sh", command, "```", "", "## Licence", ""]
    lines += [f"- Initial weights: {weights}.", f"- Images: {data}.", "- Code: MIT.", ""]
    return "\n".join(lines)


def describe_weights(run: RunRecord) -> str:
    """Where the weights before the training came from, and their licence."""
    settings = run.configuration["run"]
    backbone, weights = settings["backbone"], str(settings["weights"])
    if weights == "none":
        return "random"
    digest = weights.removeprefix(HASH)  # empty for the default file of a package
    files = {each.file: f"torchvision's {each.file}, BSD-3-Clause" for each in PUBLISHED.get(backbone, ())}
    if backbone in PACKAGES:
        files[PACKAGES[backbone].file] = f"ImageNet weights of {backbone}, Apache-2.0"
    for file, source in files.items():
        if file.rpartition("-")[2].startswith(digest[:8]):
            return f"{source}; ImageNet is for non-commercial research"
    return f"a file with SHA-256 {digest}, whose licence is not known here"


def _about(run: RunRecord, experiment: Experiment, width: int) -> list[str]:
    size, rule = experiment.test_size, selection(run.selection)
    facts = [
        f"Embeds sketches and photos so that photos of the sketched class are near, by {experiment.post.distance} "
        "distance, also for classes that it never saw.",
        "",
        f"- Method `{run.method}`, backbone `{experiment.run.backbone}`, images of {size} x {size}, "
        f"embeddings of {width} numbers.",
        f"- Trained on {len(experiment.split.seen)} seen classes of {run.dataset}, tested on "
        f"{len(experiment.split.unseen)} unseen ones (split `{run.split}`, seed {run.seed}).",
        f"- Epoch: `{rule.name}`. {rule.summary}",
    ]
    if run.warning:
        facts.append(f"- **{run.warning}**")
    if run.smoke:
        facts.append("- **A smoke run**: it was trained or tested on a few images of each class.")
    return facts


def _result(run: RunRecord, figures: list[tuple[str, Interval]]) -> dict[str, Any]:
    """The figures of one dataset, as the key ``model-index`` has them."""
    metrics = []
    for metric, found in figures:
        facts: dict[str, Any] = {"type": metric, "name": metric, "value": round(found.mean, 4)}
        if not np.isnan(found.low):
            facts["args"] = {"interval_95": [round(found.low, 4), round(found.high, 4)]}
        metrics.append(facts)
    dataset = {"name": run.dataset, "type": run.dataset, "config": f"gallery of {run.gallery} classes"}
    return {
        "task": {"type": "image-retrieval", "name": TASK},
        "dataset": {**dataset, "split": run.split, "revision": run.fingerprint},
        "metrics": metrics,
    }


def _table(run: RunRecord, figures: list[tuple[str, Interval]]) -> list[str]:
    lines = ["| metric | value | 95 % interval |", "| --- | ---: | ---: |"]
    for metric, found in figures:
        ends = "-" if np.isnan(found.low) else f"{found.low:.3f} to {found.high:.3f}"
        lines.append(f"| `{metric}` | {found.mean:.3f} | {ends} |")
    over = f"Means over the queries of the unseen classes; gallery: {run.gallery} classes."
    return [*lines, "", f"{over} The interval covers other classes. An id states its formula."]


def _interval(run: RunRecord, per_query: details.PerQuery | None, metric: str) -> Interval:
    """A figure of the run with its interval over classes, the same as in reports."""
    if per_query is None or metric not in per_query.metrics:
        return Interval(run.value(metric))
    found = interval(class_sums(per_query.of(metric), per_query.labels, "queries"))
    return replace(found, mean=run.value(metric))
