"""`bench score` on a folder of shards: the same figures as from a file, and with less memory than the gallery takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bench.cli.main import app
from bench.datasets.emoji import Emoji
from bench.embeddings.files import read_file
from bench.embeddings.memmap import ShardWriter
from bench.evaluation.ranking import rank
from bench.results.store import Store
from tests.bench.evaluation.clouds import clouds
from tests.cli.commands.test_score_as import write

EMBEDDINGS = clouds(queries=60, photos=3_000, width=8)


@pytest.fixture
def file(runner: CliRunner) -> str:
    """An embeddings file, and its shards in the folder ``s``."""
    made = EMBEDDINGS
    np.savez(
        "e.npz",
        query=made.query,
        gallery=made.gallery,
        query_labels=made.query_labels,
        gallery_labels=made.gallery_labels,
    )
    result = runner.invoke(app, ["score", "e.npz", "--metric", "P@1:k", "--to-shards", "s"])
    assert result.exit_code == 0, result.output
    return "e.npz"


def scored(runner: CliRunner, *arguments: str) -> dict[str, Any]:
    result = runner.invoke(app, ["score", *arguments, "--format", "json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--protocol", "all"],
        ["--distance", "euclidean", "--metric", "mAP@all:tied@classes"],
        ["--protocol", "sketch-lvm", "--seed", "3"],
        ["--device", "auto"],
        ["--deep"],
    ],
    ids=" ".join,
)
def test_the_same_figures_as_from_the_file(options: list[str], runner: CliRunner, file: str) -> None:
    of_file = [option for option in options if option != "--deep"]
    assert scored(runner, "s", *options) == scored(runner, file, *of_file)
    one, other = (runner.invoke(app, ["score", what, *given]) for what, given in (("s", options), (file, of_file)))
    assert one.stdout == other.stdout
    assert "2 of 60 queries have no relevant photo" in one.stderr


def test_a_dataset_is_held_against_shards_too(runner: CliRunner) -> None:
    scored(runner, write(), "--metric", "P@1:k", "--to-shards", "s")
    call = ["--as", "theirs", "-d", "emoji", "--metric", "P@1:k"]
    found = scored(runner, "s", *call)
    assert found["scores"] == scored(runner, "emoji.npz", *call)["scores"]
    assert (found["verified"], found["fingerprint"]) == (True, Emoji(Path()).split().fingerprint)
    store = Store("bench.db")
    digests = [run.configuration["external"]["file_sha256"] for run in store.runs()]
    store.close()
    assert len(set(digests)) == 2
    assert all(len(each) == 64 for each in digests)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["empty"], 3, "Folder empty has no readable shards.json"),
        (["cut"], 3, "Shard cut/gallery-00000.npy is damaged"),
        (["altered", "--deep"], 3, "its SHA-256 is not that of the JSON"),
        (["nan"], 3, "Array 'gallery' holds NaN or infinity, first in row 7"),
        (["s", "--distance", "hamming"], 3, "Array 'query' is no binary code"),
        (["s", "--protocol", "dsn-itq"], 2, "makes binary codes, which needs all embeddings in memory"),
        (["s", "--device", "cuda"], 2, "ranked on the cpu, not on cuda: leave --device out"),
        (["s", "--to-shards", "t"], 2, "s is a folder already"),
        (["e.npz", "--to-shards", "s"], 2, "shards.json exists"),
        (["e.npz", "--to-shards", "e.npz/s"], 6, "choose another by --to-shards"),
        (["e.npz", "--deep"], 2, "--deep checks shards"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_sentence_and_its_exit_code(
    arguments: list[str], code: int, message: str, runner: CliRunner, file: str
) -> None:
    Path("empty").mkdir()
    for name in ("cut", "altered", "nan"):
        shutil.copytree("s", name)
    shard = "gallery-00000.npy"
    content = bytearray((Path("s") / shard).read_bytes())
    (Path("cut") / shard).write_bytes(content[:-1])
    content[-1] ^= 1
    (Path("altered") / shard).write_bytes(content)
    gallery = np.load(Path("s") / shard)
    gallery[7, 3] = np.nan
    np.save(Path("nan") / shard, gallery)
    result = runner.invoke(app, ["score", *arguments])
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert result.stderr.strip().splitlines()[-1].startswith("error: ")
    assert result.stdout == ""


# The address space that is left to a process after its imports, less than the gallery takes: two spans and what threads
# reserve fit into it, the gallery as an array does not.
ALLOWED_MB, PHOTOS, WIDTH = 380, 200_000, 512
CAPPED = f"""
import resource, sys
from pathlib import Path
import bench.cli.main, bench.embeddings.files, bench.evaluation.protocol_scores
import bench.embeddings.memmap, bench.experiments.progress_bars
status = Path("/proc/self/status").read_text().splitlines()
used = next(int(line.split()[1]) * 2**10 for line in status if line.startswith("VmSize:"))
resource.setrlimit(resource.RLIMIT_AS, (used + {ALLOWED_MB} * 2**20,) * 2)
bench.cli.main.main(sys.argv[1:])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the address space is read from /proc")
def test_a_gallery_larger_than_the_address_space(tmp_path: Path) -> None:
    """391 MB of photos with 380 MB left: exit 5 from a file, and from shards what a machine with more memory finds."""
    generator = np.random.default_rng(0)
    few = generator.standard_normal((5_000, WIDTH), dtype=np.float32)
    gallery = np.empty((PHOTOS, WIDTH), dtype=np.float32)
    for begin in range(0, PHOTOS, len(few)):
        gallery[begin : begin + len(few)] = few + np.float32(begin / PHOTOS)
    labels = generator.integers(0, 50, PHOTOS)
    query = generator.standard_normal((4, WIDTH), dtype=np.float32)
    np.savez(tmp_path / "e.npz", query=query, gallery=gallery, query_labels=np.arange(4), gallery_labels=labels)
    with ShardWriter(tmp_path / "s") as writer:
        writer.add("query", query, np.arange(4))
        for begin in range(0, PHOTOS, 50_000):
            writer.add("gallery", gallery[begin : begin + 50_000], labels[begin : begin + 50_000])
    del gallery

    # Each thread of the C library and of BLAS reserves address space that it does not use.
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}

    def call(file: str) -> subprocess.CompletedProcess[str]:
        words = ["score", str(tmp_path / file), "--metric", "mAP@all:plain", "--metric", "P@100:k", "--format", "json"]
        return subprocess.run(
            [sys.executable, "-c", CAPPED, *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    refused = call("e.npz")
    assert refused.returncode == 5, refused.stderr
    assert refused.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "does not fit into memory" in refused.stderr
    found = call("s")
    assert found.returncode == 0, found.stderr
    embeddings = read_file(tmp_path / "e.npz").embeddings
    expected = rank(embeddings, ["mAP@all:plain", "P@100:k"])
    assert [each["value"] for each in json.loads(found.stdout)["scores"]] == [
        expected.score(metric).value for metric in expected.metrics
    ]
