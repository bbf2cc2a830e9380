"""How a run was made: code version, packages, processor or GPU, threads, command."""

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
from functools import cache
from pathlib import Path

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "numba",
    "pillow",
    "scikit-image",
    "safetensors",
    "sqlalchemy",
)
PACKAGES_OF_CODE = ("bench", "methods", "datasets")  # folders of a checkout that can change a number
# An absolute path (or one from the home folder) where a word, a value behind =, : or , or a file behind @ begins.
PATH = re.compile(r"(?:(?<=[=,:@])|^)(?:~[^/\\]*|[A-Za-z]:)?[/\\][^,]*?([^/\\,]*)[/\\]*(?=,|$)")
URL = re.compile(r"(?s)([A-Za-z][A-Za-z0-9+.-]*)://.+")  # to the end of the word: a password may hold a blank
SECRET = re.compile(r"(?i)([\w-]*(?:password|passwd|secret|token|api[-_]?key)[\w-]*)=.*")


def collect(device: str) -> dict[str, str]:
    """Facts about this process and machine by name, without user names, host names or paths."""
    import torch

    facts = {
        "bench": importlib.metadata.version("zs-sbir-bench"),
        "commit": commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "device": device_name(device),
        **cuda_of(device),
        "threads": str(torch.get_num_threads()),
        "deterministic": deterministic(),
    }
    facts.update({name: importlib.metadata.version(name) for name in PACKAGES})
    return {**facts, "command": command(sys.argv)}


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
    """Identifies the code that computes results, installed or not: 16 hex digits of the SHA-256 of its files."""
    packages = ["bench", *(f"bench.{name}" for name in PACKAGES_OF_CODE if name != "bench")]
    return _hash_of_sources(
        {name: [Path(each) for each in importlib.import_module(name).__path__] for name in packages}
    )


def plugin_hash(kinds: Iterable[type]) -> str:
    """``code_hash`` for the plug-ins that define these classes and their bases; "none" without plug-ins."""
    ours = {*PACKAGES_OF_CODE, "torch", *sys.stdlib_module_names}
    names = {base.__module__.partition(".")[0] for kind in kinds for base in kind.__mro__} - ours
    places: dict[str, list[Path]] = {}
    for name in sorted(names):
        module = sys.modules[name]
        found = list(getattr(module, "__path__", ())) or [getattr(module, "__file__", None)]
        places[name] = [Path(each) for each in found if each]
    return _hash_of_sources(places) if places else "none"


def _hash_of_sources(places: Mapping[str, Sequence[Path]]) -> str:
    """16 hex digits of the SHA-256 of Python files, by package: its folders, or its one file."""
    digest = hashlib.sha256()
    for package, folders in places.items():
        for folder in folders:
            for file in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
                digest.update(f"{package}/{file.relative_to(folder).as_posix()}\n".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _git(folder: Path, *arguments: str) -> str:
    found = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def command(words: Sequence[str]) -> str:
    """The command line without anything private.

    A URL is cut to its scheme, since it may hold user, password and host. An absolute path is cut to its last part.
    The values of passwords, secrets, tokens and keys are left out.
    """
    program = Path(words[0]).parent.name if Path(words[0]).name == "__main__.py" else Path(words[0]).name
    return " ".join([program, *(shlex.quote(_scrubbed(word)) for word in words[1:])])


def _scrubbed(word: str) -> str:
    word = SECRET.sub(r"\1=...", word)
    word = URL.sub(r"\1://...", word)
    return word if "://" in word else PATH.sub(r".../\1", word)


def processor() -> str:
    """The processor's name, with the number of cores that this process may use."""
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


def cuda_of(device: str, driver_file: Path = Path("/proc/driver/nvidia/version")) -> dict[str, str]:
    """Versions of CUDA, cuDNN and the driver; empty unless the run uses them."""
    if not device.startswith("cuda"):
        return {}
    import torch

    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {"cuda": str(torch.version.cuda), "cudnn": str(cudnn), "driver": driver_version(driver_file)}


def driver_version(file: Path) -> str:
    """The version of NVIDIA's kernel module, from its file; "unknown" without one."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", file.read_text())
    except OSError:
        return "unknown"
    return found[1] if found else "unknown"


def deterministic() -> str:
    """Whether torch uses deterministic algorithms only, and whether cuDNN benchmarks its algorithms."""
    import torch

    algorithms = "algorithms" if torch.are_deterministic_algorithms_enabled() else "no"
    return algorithms + (", cudnn benchmark" if torch.backends.cudnn.benchmark else "")
