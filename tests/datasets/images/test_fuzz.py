"""No damaged image crashes the process: each is decoded or gives a DataError."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SEED, VARIANTS, SECONDS = 1, 3000, 4.0  # seconds of the processor


def test_thousands_of_damaged_pictures_are_decoded_or_refused(tmp_path: Path) -> None:
    call = [sys.executable, "-X", "faulthandler", "-W", "ignore", "-m", "tests.datasets.images.fuzz"]
    words = [str(SEED), str(VARIANTS), str(SECONDS), str(tmp_path / "variant")]
    ended = subprocess.run(
        [*call, *words], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=300
    )
    errors = ended.stderr.decode(errors="replace")[-3000:]
    assert ended.returncode == 0, f"exit {ended.returncode} at {tmp_path / 'variant'}:\n{errors}"
    counts = json.loads(ended.stdout)
    for way in ("decode", "sketch", "thumbnail"):
        for result in ("decoded", "refused"):
            assert sum(count for what, count in counts.items() if what.startswith(way) and what.endswith(result)) > 50
