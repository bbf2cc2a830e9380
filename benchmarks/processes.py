"""Training time on one process and on several.

    python benchmarks/processes.py [PROCESSES ...] [--threads N] [--limit N] [--epochs X] [--image-size N]
        [--no-warm-up]

All trainings have the same batches; their processes share ``threads`` (default: all cores). Seconds are those of the
training alone, after a warm-up that compiles kernels. On one machine the processes share cores and memory: the gain
comes from splitting the work by image instead of by layer.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.results import details
from bench.results.store import Store


def run_training(processes: int, threads: int, folder: Path, words: Sequence[str]) -> tuple[float, int, float]:
    """Seconds, steps and final mAP of a training of ``ours``."""
    store = folder / f"{processes}.db"
    places = ["--store", str(store), "--cache-dir", str(folder / f"cache{processes}"), "-q"]
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    call = [*start, "-m", "bench", *places, "run", "-m", "ours", "-d", "emoji", *words, "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, threads // processes))}
    subprocess.run(call, env=environment, check=True, stdout=subprocess.DEVNULL)
    opened = Store(str(store))
    (run,) = opened.runs()
    points = details.history(opened.detail(run.id, details.HISTORY) or b"")
    opened.close()
    return run.seconds["training"], int(points[-1]["step"]), run.value("mAP@all:plain")


def main() -> None:
    """Print a line for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=int, default=4, help="images per class and modality")
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--image-size", type=int, help="side of the square in pixels [default: that of the dataset]")
    parser.add_argument("--no-warm-up", action="store_true", help="skip the warm-up")
    options = parser.parse_args()
    words = ["--limit", str(options.limit), "--epochs", f"{options.epochs:g}"]
    words += ["--image-size", str(options.image_size)] if options.image_size else []
    print("| processes | threads each | seconds a step | speed-up | mAP@all |")
    print("| --- | --- | --- | --- | --- |")
    first = None
    with tempfile.TemporaryDirectory() as name:
        if not options.no_warm_up:
            run_training(1, options.threads, Path(tempfile.mkdtemp(dir=name)), words)  # compiles the kernels
        for processes in options.processes:
            seconds, steps, value = run_training(processes, options.threads, Path(name), words)
            first = first or seconds
            each = max(1, options.threads // processes)
            print(f"| {processes} | {each} | {seconds / steps:.3f} | {first / seconds:.2f} | {value:.3f} |", flush=True)


if __name__ == "__main__":
    main()
