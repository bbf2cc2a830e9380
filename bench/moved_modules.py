"""Modules that plug-ins imported before everything became ``bench.*``, and their names today."""

from __future__ import annotations

import re
import traceback
from importlib.util import find_spec

MOVED = {
    "bench.files": "bench.io",
    "bench.metric_ids": "bench.evaluation.metrics.base",
    "bench.metrics": "bench.evaluation.metrics",
    "bench.postprocessing": "bench.settings.post_processing",
    "bench.protocols": "bench.evaluation.protocols",
    "bench.protocols.base": "bench.evaluation.protocols.base",
    "bench.settings": "bench.settings.run_settings",
    "bench.shards": "bench.embeddings.memmap",
    "bench.statistics": "bench.statistics.intervals",
    "bench.store": "bench.results.store",
    "bench.vectors": "bench.embeddings.arrays",
    "bench.writing": "bench.io",
    "datasets.class_names": "bench.datasets.published.class_names",
    "datasets.filelists": "bench.datasets.published.file_lists",
    "datasets.layouts": "bench.datasets.published.layouts",
    "datasets.split_lists": "bench.datasets.published.class_splits",
    "datasets.tree": "bench.datasets.published.tree_dataset",
    "datasets.walking": "bench.datasets.published.files",
    "methods.backbones": "bench.methods.backbone.backbone",
    "methods.conditional": "bench.methods.modules.domain_tag",
    "methods.heads": "bench.methods.modules.heads",
    "methods.knowledge": "bench.methods.modules.class_knowledge",
    "methods.losses": "bench.methods.modules.losses",
    "methods.network": "bench.methods.modules.single_network",
    "methods.teacher": "bench.methods.modules.teacher",
    "reports.source": "bench.reports.rows",
}
IMPORT = re.compile(r"(?:from|import)\s+([\w.]+)(?:\s+import\s+\(?\s*(\w+))?")


def moved_to(module: str) -> str:
    """The name of a module today; empty if it has not moved, or never existed here.

    >>> moved_to("methods.network"), moved_to("methods.base"), moved_to("datasets.load")
    ('bench.methods.modules.single_network', 'bench.methods.base', '')
    """
    package, _, rest = module.partition(".")
    if module in MOVED or package not in ("datasets", "methods", "reports") or not rest.isidentifier():
        return MOVED.get(module, "")
    return f"bench.{module}" if find_spec(f"bench.{module}") else ""


def explain_import(error: BaseException) -> str:
    """Which module moved where, for an import that failed because of that; otherwise empty."""
    frames = traceback.extract_tb(error.__traceback__)
    statement = IMPORT.match(frames[-1].line or "") if isinstance(error, ImportError) and frames else None
    if statement is None:
        return ""
    module, name = statement.groups()
    pairs = [(old, moved_to(old)) for old in (f"{module}.{name}", module)]
    return next((f"{old} is now {new}" for old, new in pairs if new), "")
