"""Provenance of a run: code version, packages, processor or GPU, threads, command."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

NUMERIC = ("torch", "torchvision", "timm", "numpy", "scipy", "numba")
PACKAGES = (*NUMERIC, "pillow", "scikit-image", "safetensors", "sqlalchemy")
PACKAGES_OF_CODE = ("bench", "methods", "datasets")  # folders of a checkout that can change a number
# An absolute path, or one from the home folder, at the start of a word or after = : , or @.
PATH = re.compile(r"(?:(?<=[=,:@])|^)(?:~[^/\\]*|[A-Za-z]:)?[/\\][^,]*?([^/\\,]*)[/\\]*(?=,|$)")
URL = re.compile(r"(?s)([A-Za-z][A-Za-z0-9+.-]*)://.+")  # to the end of the word: a password may contain a space
SECRET = re.compile(r"(?i)([\w-]*(?:password|passwd|secret|token|api[-_]?key)[\w-]*)=.*")


def collect(device: str) -> dict[str, str]:
    """Facts about this process and machine by name, without user names, host names or paths."""
    import torch

    model = f" ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else ""
    return {
        "bench": importlib.metadata.version("zs-sbir-bench"),
        "commit": commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "device": device + model,
        **cuda_of(device),
        "threads": str(torch.get_num_threads()),
        "deterministic": deterministic(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
        "command": command(sys.argv),
    }


@cache
def commit() -> str:
    """Git commit of the code, with ``+`` when files differ from it; "unknown" outside a checkout."""
    here = Path(__file__).resolve().parent.parent
    try:
        top, head = _git(here, "rev-parse", "--show-toplevel", "--short=12", "HEAD").split("\n")
        if Path(top).resolve() != here:  # installed inside another checkout
            return "unknown"
        changed = _git(here, "status", "--porcelain", "--", *PACKAGES_OF_CODE)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return "unknown"
    return f"{head}+" if changed else head


def code_hash() -> str:
    """16 hex digits of the SHA-256 of the code that computes results, installed or not."""
    names = ["bench", *(f"bench.{name}" for name in PACKAGES_OF_CODE if name != "bench")]
    return _hash_of_sources({name: importlib.import_module(name).__path__ for name in names})


def plugin_hash(kinds: Iterable[type]) -> str:
    """``code_hash`` for the plug-ins that define these classes and their bases; "none" without plug-ins."""
    ours = {*PACKAGES_OF_CODE, "torch", *sys.stdlib_module_names}
    names = {base.__module__.partition(".")[0] for kind in kinds for base in kind.__mro__} - ours
    places: dict[str, Iterable[str]] = {}
    for name in sorted(names):
        module = sys.modules[name]
        places[name] = list(getattr(module, "__path__", ())) or list(filter(None, [getattr(module, "__file__", None)]))
    return _hash_of_sources(places) if places else "none"


def _hash_of_sources(places: Mapping[str, Iterable[str]]) -> str:
    """16 hex digits of the SHA-256 of Python files, by package: its folders, or its one file."""
    digest = hashlib.sha256()
    for package, folders in places.items():
        for folder in map(Path, folders):
            for file in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
                digest.update(f"{package}/{file.relative_to(folder).as_posix()}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def command(words: Sequence[str]) -> str:
    """The command line without private parts.

    A URL is cut to its scheme, an absolute path to its last part. Passwords, secrets, tokens and keys are left out.
    """
    program = Path(words[0]).parent.name if Path(words[0]).name == "__main__.py" else Path(words[0]).name
    plain = [URL.sub(r"\1://...", SECRET.sub(r"\1=...", word)) for word in words[1:]]
    plain = [word if "://" in word else PATH.sub(r".../\1", word) for word in plain]
    return " ".join([program, *map(shlex.quote, plain)]).encode(errors="backslashreplace").decode()


def processor() -> str:
    """The processor's name, with the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):  # only Linux has this file
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {available_processors()} cores"


def available_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cuda_of(device: str) -> dict[str, str]:
    """Versions of CUDA, cuDNN and the driver; empty for another device."""
    if not device.startswith("cuda"):
        return {}
    import torch

    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {"cuda": str(torch.version.cuda), "cudnn": str(cudnn), "driver": driver_version()}


def driver_version(file: Path = Path("/proc/driver/nvidia/version")) -> str:
    """The version of NVIDIA's kernel module; "unknown" without its file."""
    try:
        match = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", file.read_text())
    except OSError:
        return "unknown"
    return match[1] if match else "unknown"


def deterministic() -> str:
    """Whether torch uses only deterministic algorithms, and whether cuDNN benchmarks its algorithms."""
    import torch

    algorithms = "algorithms" if torch.are_deterministic_algorithms_enabled() else "no"
    return algorithms + (", cudnn benchmark" if torch.backends.cudnn.benchmark else "")
