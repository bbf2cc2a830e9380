"""What a run ran on: code version, packages, processor, threads."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PACKAGES = ("torch", "torchvision", "timm", "numpy", "numba", "pillow")


def collect(device: str) -> dict[str, str]:
    """Facts about this process and machine by name; no user or host names, no paths."""
    facts = {
        "bench": importlib.metadata.version("zs-sbir-bench"),
        "commit": commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "device": device_name(device),
        "threads": str(_threads()),
    }
    facts.update({name: importlib.metadata.version(name) for name in PACKAGES})
    return facts


def commit() -> str:
    """Git commit of the code, with ``+`` when files differ from it; "unknown" outside a checkout."""
    here = Path(__file__).resolve().parent.parent
    try:
        head = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "-C", str(here), "status", "--porcelain", "--", "bench", "methods", "datasets"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+" if changed else head


def processor() -> str:
    """The processor's name as the system gives it, with the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass  # no Linux: the platform module's answer stands
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def device_name(device: str) -> str:
    """The device with its model name where it has one."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def _threads() -> int:
    import torch

    return torch.get_num_threads()
