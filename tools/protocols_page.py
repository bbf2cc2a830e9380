"""The generated parts of docs/protocols.md: tables of declarations, and a worked ranking under every definition.

Run ``python -m tools.protocols_page`` to update them, between the marks of each part.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.embeddings.arrays import Embeddings
from bench.evaluation import protocols
from bench.evaluation.metrics.base import definitions
from bench.evaluation.protocols.base import PROTOCOLS
from bench.evaluation.ranking import rank
from bench.evaluation.ties import TIES, Ties

PAGE = Path(__file__).resolve().parents[1] / "docs" / "protocols.md"
REPOSITORIES = Path(protocols.__file__).with_name("repositories.toml")
BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

# Twelve photos in the order of the gallery: their distance to the query, and which are relevant (o) or not (-).
DISTANCES = (0.2, 0.1, 0.3, 0.3, 0.5, 0.6, 0.8, 0.7, 0.9, 0.9, 1.1, 1.2)
RELEVANT = "o-o-oo---o-o"
KS = (4, 10)
TIED_K = 3  # within the first pair of equal distances


def render(text: str) -> str:
    """The page with every generated part updated; raises KeyError for an unknown part."""
    parts = {
        "metrics": metrics_table,
        "ranking": ranking_table,
        "values": values_table,
        "ties": ties_table,
        "doubled": doubled_table,
        "protocols": protocols_table,
        "notes": protocol_notes,
        "repositories": repositories_table,
    }
    return BLOCK.sub(lambda found: f"{found[1]}{parts[found['name']]()}{found[3]}", text)


def metrics_table() -> str:
    """Every definition and who uses it."""
    return markdown(
        ["id", "value of one query", "who uses it"], [[f"`{d.name}`", d.summary, d.used_by] for d in definitions()]
    )


def ranking_table() -> str:
    """The worked ranking: rank, distance, relevance, precision there."""
    order = sorted(range(len(DISTANCES)), key=lambda photo: (DISTANCES[photo], photo))
    rows, found = [], 0
    for place, photo in enumerate(order, start=1):
        hit = RELEVANT[photo] == "o"
        found += hit
        precision = f"{found}/{place} = {found / place:.3f}" if hit else ""
        rows.append([str(place), str(photo), f"{DISTANCES[photo]:.1f}", "yes" if hit else "", precision])
    return markdown(["rank", "gallery position", "distance", "relevant", "precision at its rank"], rows)


def values_table() -> str:
    """Every definition on the worked ranking, at each K."""
    rows = []
    for definition in definitions():
        if definition.has_k:
            found = [f"{value(definition.at(k)):.3f}" for k in KS]
        else:
            found = [f"{value(definition.name):.3f}", ""]
        rows.append([f"`{definition.name}`", *found])
    return markdown(["id", *(f"K = {k}" for k in KS)], rows)


def ties_table() -> str:
    """The effect of two pairs of equal distances on some metrics."""
    metrics = ("mAP@all:plain", f"mAP@{TIED_K}:min", f"P@{TIED_K}:k", "mAP@all:tied")
    rows = [[f"`{metric}`", *(f"{value(metric, ties=ties):.3f}" for ties in TIES)] for metric in metrics]
    return markdown(["id", "by gallery position", "pessimistic", "optimistic"], rows)


def doubled_table() -> str:
    """The worked ranking, and that of a gallery with every photo twice."""
    k = KS[1]
    rows = []
    for pattern in ("P@K:k", "mAP@K:min", "mAP@K:hits", "mAP@all:tied"):
        metric, later = pattern.replace("@K:", f"@{k}:"), pattern.replace("@K:", f"@{2 * k}:")
        found = (value(metric), value(metric, copies=2), value(later, copies=2))
        rows.append([f"`{pattern}`", *(f"{each:.3f}" for each in found)])
    return markdown(["id", f"K = {k}", f"every photo twice, K = {k}", f"every photo twice, K = {2 * k}"], rows)


def protocols_table() -> str:
    """One line per protocol."""
    rows = []
    for name in PROTOCOLS.names():
        protocol = PROTOCOLS.get(name)
        metrics = ", ".join(f"`{each.removesuffix('@queries')}`" for each in protocol.metrics)
        ranked = protocol.distance + (f" + eps {protocol.eps:g}" if protocol.eps else "")
        ranked += f", {protocol.gallery} gallery" if protocol.gallery != "full" else ""
        rules = {"skip": "left out", "zero": "0", "nan": "NaN", "refuse": "refused"}
        empty = rules[protocol.empty]
        if protocol.empty_precision is not None:
            empty = f"{empty}; P@K: {rules[protocol.empty_precision]}"
        small = {"k": "P@K / K", "gallery": "P@K / photos", "refuse": "refused"}[protocol.small]
        rows.append([f"`{name}`", str(protocol.version), metrics, ranked, empty, small, protocol.used_by])
    heads = ["protocol", "version", "metrics", "ranked by", "no relevant photo", "under K photos", "whose figures"]
    return markdown(heads, rows)


def protocol_notes() -> str:
    """Summary, source and notes of every protocol."""
    parts = []
    for name in PROTOCOLS.names():
        protocol = PROTOCOLS.get(name)
        lines = [f"- **`{name}`**: {protocol.summary} Read from: {protocol.source}."]
        lines += [f"  - {note}" for note in protocol.notes]
        parts.append("\n".join(lines))
    return "\n".join(parts) + "\n"


def repositories_table() -> str:
    """Every repository that is known."""
    rows = []
    for each in tomllib.loads(REPOSITORIES.read_text(encoding="utf-8"))["repository"]:
        known = [PROTOCOLS.get(name) for name in each["protocols"]]
        computes = each.get("computes") or " ".join(protocol.summary for protocol in known)
        names = ", ".join(f"`{protocol.name}`" for protocol in known) or "-"
        rows.append([each["name"], each.get("commit", "-"), names, computes, each.get("difference", "not compared")])
    return markdown(["repository", "commit", "protocol", "what it computes", "largest difference"], rows)


def value(metric: str, ties: Ties = "index", copies: int = 1) -> float:
    """One metric of the worked ranking, by the engine, with ``copies`` copies of each photo."""
    gallery = np.repeat(np.array(DISTANCES, dtype=np.float32)[:, None], copies, axis=0)
    labels = np.repeat(np.array([int(mark == "o") for mark in RELEVANT], dtype=np.int64), copies)
    worked = Embeddings(np.zeros((1, 1), dtype=np.float32), gallery, np.ones(1, dtype=np.int64), labels)
    return rank(worked, [metric], distance="euclidean", ties=ties).score(metric).value


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
