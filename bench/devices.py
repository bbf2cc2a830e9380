"""Devices: choose one, move images to it, precision, memory errors."""

from __future__ import annotations

import ctypes
import os
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor

from bench.errors import UsageError

NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device called ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; raises UsageError if it is missing."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"There is no device {name!r}: use auto, cpu, cuda, cuda:N or mps.") from error
    present = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= present.get(device.type, 0):
        raise UsageError(f"Device {name!r} is not on this machine: use --device auto or cpu.")
    return device


def be_deterministic(device: torch.device) -> None:
    """Make a GPU compute the same numbers each time. An operation that cannot do so warns.

    Call it before the first matrix product on the device, when cuBLAS reads its setting. A CPU needs nothing: its sums
    have a fixed order for a fixed number of threads.
    """
    if device.type != "cuda":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # all memory is written


def keep_freed_memory(device: torch.device) -> None:
    """Let this process keep memory that it frees, if it trains on a CPU.

    A training step frees the tensors that the next one needs again. To get them from the system each time costs a
    seventh of the step. This is for glibc; other C libraries stay as they are.
    """
    if device.type == "cpu":
        with suppress(AttributeError, OSError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large tensor
            mallopt(-1, -1)  # M_TRIM_THRESHOLD: nothing is given back


def give_back_memory() -> None:
    """Give memory that this process has kept back to the system."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def to_pixels(images: Tensor, device: torch.device) -> Tensor:
    """uint8 [batch, 3, size, size] to float32 in 0..1 on the device, channels last in memory (faster convolutions)."""
    moved = images.to(device, non_blocking=True)
    return moved.to(dtype=torch.float32, memory_format=torch.channels_last).div_(255)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that the host or the device is out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    message = str(error).lower()  # the allocators of the CPU and of mps raise a plain RuntimeError
    return isinstance(error, RuntimeError) and any(words in message for words in NO_MEMORY)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The context in which the forward pass runs; fp32 changes nothing."""
    kind = PRECISIONS[precision]
    return nullcontext() if kind is None else torch.autocast(device.type, dtype=kind)
