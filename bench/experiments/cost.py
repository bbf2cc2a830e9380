"""What a run costs: parameters, floating-point operations of an image, throughput, peak memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench.methods.backbone.same_padding import kernels_as_written
from bench.methods.base import Method


def cost_of(
    method: Method, image_size: int, seconds: Mapping[str, float], embedded: int, device: torch.device
) -> dict[str, float]:
    """Figures by name, of the network that embeds (losses, heads and teachers are not counted).

    ``parameters`` and ``flops`` (of one photo; multiply and add are two) are absent for methods without a network,
    ``images_per_second`` for embeddings that were cached; ``peak_memory`` (resident) and ``peak_device_memory`` are the
    most bytes of this process since ``forget_peak``.
    """
    found = {name: float(value) for name, value in size_of(method, image_size, device).items() if value}
    if embedded and seconds.get("embedding"):
        found["images_per_second"] = round(embedded / seconds["embedding"], 1)
    found["peak_memory"] = peak_memory()
    if device.type == "cuda":
        found["peak_device_memory"] = torch.cuda.max_memory_allocated(device)
    return found


@torch.inference_mode()
def size_of(method: Method, image_size: int, device: torch.device) -> dict[str, int]:
    """``parameters`` of the layers that embedding one photo passes through, and the ``flops`` that it takes."""
    called: set[torch.nn.Module] = set()

    def note(module: torch.nn.Module, *_: object) -> None:
        called.add(module)

    hooks = [module.register_forward_hook(note) for module in method.modules()]
    counter = FlopCounterMode(display=False)
    try:
        with counter, kernels_as_written():
            method.embed(torch.zeros(1, 3, image_size, image_size, device=device), True)
    finally:
        for hook in hooks:
            hook.remove()
    used = {each for module in _with_owners(method, called) for each in module.parameters(recurse=False)}
    return {"parameters": sum(each.numel() for each in used), "flops": int(counter.get_total_flops())}


def _with_owners(method: Method, called: set[torch.nn.Module]) -> set[torch.nn.Module]:
    """``called`` with what lies between them and the method, and with lists of parameters.

    A network whose parts are called one by one is not called itself, and lists never are: they hold parameters, too,
    such as a transformer's embedding of positions.
    """
    found = set(called)
    names = {module: name for name, module in method.named_modules()}
    for module in called:
        name = names[module]
        while name := name.rpartition(".")[0]:
            found.add(method.get_submodule(name))
    lists = (torch.nn.ParameterList, torch.nn.ParameterDict)
    return found | {each for owner in found for each in owner.children() if isinstance(each, lists)}


def forget_peak(device: torch.device) -> None:
    """Let the peaks of memory begin anew, so that of several runs of a process each has its own.

    Resident memory needs Linux for it; elsewhere a run has the peak of the process until its end.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak to what is held now
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory() -> int:
    """Most memory that this process has held resident since ``forget_peak``, bytes."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
