"""Cost of a run: parameters, floating-point operations per image, throughput, peak memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.devices import give_back_memory
from bench.methods.base import Method


def cost_of(
    method: Method, image_size: int, seconds: Mapping[str, float], embedded: int, device: torch.device
) -> dict[str, float]:
    """Cost figures of the network that embeds, by name; losses, heads and teachers do not count.

    ``parameters`` and ``flops`` (of one photo; a multiply-add counts two) are absent without a network,
    ``images_per_second`` if all embeddings were cached. The peaks are in bytes, since ``forget_peak``.
    """
    cost = {name: float(value) for name, value in size_of(method, image_size, device).items() if value}
    if embedded and seconds.get("embedding"):
        cost["images_per_second"] = round(embedded / seconds["embedding"], 1)
    cost["peak_memory"] = peak_memory()
    if device.type == "cuda":
        cost["peak_device_memory"] = torch.cuda.max_memory_allocated(device)
    return cost


@torch.inference_mode()
def size_of(method: Method, image_size: int, device: torch.device) -> dict[str, int]:
    """``parameters`` of the layers that embed a photo, and the ``flops`` for one photo."""
    called: set[torch.nn.Module] = set()
    hooks = [module.register_forward_hook(lambda module, *_: called.add(module)) for module in method.modules()]
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            method.embed(torch.zeros(1, 3, image_size, image_size, device=device), True)
    finally:
        for hook in hooks:
            hook.remove()
    used = {each for module in _with_owners(method, called) for each in module.parameters(recurse=False)}
    return {"parameters": sum(each.numel() for each in used), "flops": int(counter.get_total_flops())}


def _with_owners(method: Method, called: set[torch.nn.Module]) -> set[torch.nn.Module]:
    """``called`` with every module that contains one of them, and with their lists of parameters.

    A network whose parts are called one by one is not called itself; parameter lists (position embeddings) never are.
    """
    names = {module: name for name, module in method.named_modules()}
    owners = set(called)
    for module in called:
        name = names[module]
        while name := name.rpartition(".")[0]:
            owners.add(method.get_submodule(name))
    lists = (torch.nn.ParameterList, torch.nn.ParameterDict)
    return owners | {each for owner in owners for each in owner.children() if isinstance(each, lists)}


def forget_peak(device: torch.device) -> None:
    """Reset the memory peaks, so that each run of a process has its own.

    Memory that an earlier training kept is given back. Only Linux can reset the peak of resident memory; elsewhere it
    is the peak since the process started.
    """
    give_back_memory()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak to the current value
    if device.type == "cuda":
        # The second call fails in a process that has not used the GPU yet.
        torch.cuda.init()  # type: ignore[no-untyped-call]
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory() -> int:
    """The most resident memory since ``forget_peak``, in bytes."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
