"""What a run costs: parameters, floating-point operations of an image, throughput, peak memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from methods.base import Method
from methods.same_padding import kernels_as_written


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
    used: dict[int, int] = {}

    def note(module: torch.nn.Module, *_: object) -> None:
        used.update({id(each): each.numel() for each in module.parameters(recurse=False)})

    hooks = [module.register_forward_hook(note) for module in method.modules()]
    counter = FlopCounterMode(display=False)
    try:
        with counter, kernels_as_written():
            method.embed(torch.zeros(1, 3, image_size, image_size, device=device), True)
    finally:
        for hook in hooks:
            hook.remove()
    return {"parameters": sum(used.values()), "flops": int(counter.get_total_flops())}


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
