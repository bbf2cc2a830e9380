"""A training on one process beside the same training split over several, from one call of each.

    python benchmarks/processes.py [PROCESSES ...] [--threads N]

Every training has the same batches; ``threads`` (all cores by default) are shared out among its processes. Seconds are
those of the training alone, without the first start of compiled kernels. On one machine the processes share cores and
memory, so that what is won is what splitting the work by image wins over splitting each layer.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import details
from bench.store import Store

SMALL = ["--limit", "4", "--epochs", "2", "--select", "last"]


def training(processes: int, threads: int, folder: Path) -> tuple[float, int, float]:
    """Seconds of a training of ``ours``, its steps, and the mAP that it comes to."""
    store = folder / f"{processes}.db"
    places = ["--store", str(store), "--cache-dir", str(folder / f"cache{processes}"), "-q"]
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    call = [*start, "-m", "bench", *places, "run", "-m", "ours", "-d", "emoji", *SMALL, "--device", "cpu"]
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
    asked = parser.parse_args()
    print("| processes | threads each | seconds a step | times one process | mAP@all |")
    print("| --- | --- | --- | --- | --- |")
    first = None
    with tempfile.TemporaryDirectory() as name:
        training(1, asked.threads, Path(tempfile.mkdtemp(dir=name)))  # compiles the kernels
        for processes in asked.processes:
            seconds, steps, value = training(processes, asked.threads, Path(name))
            first = first or seconds
            each = max(1, asked.threads // processes)
            print(f"| {processes} | {each} | {seconds / steps:.3f} | {first / seconds:.2f} | {value:.3f} |", flush=True)


if __name__ == "__main__":
    main()
