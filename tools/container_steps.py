"""Run the install steps of the Dockerfile in an empty folder with a new environment, without a container.

    python -m tools.container_steps FOLDER [NAME=VALUE ...]

This copies what the Dockerfile copies, and runs its RUN lines up to the first that needs root, which takes minutes.
NAME=VALUE are build arguments. UV_TORCH_BACKEND is left out: packages come from where this machine gets them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from string import Template

ROOT = Path(__file__).parents[1]
NEEDS_ROOT = "useradd"
IGNORED = ("__pycache__", "*.pyc")  # as in .dockerignore


def read_steps(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile in order: word and rest, without comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())]


def copy_sources(steps: list[tuple[str, str]], target: Path) -> None:
    """Copy the sources of the COPY steps into ``target``."""
    for word, rest in steps:
        if word == "COPY":
            *sources, place = rest.split()
            for source in map(ROOT.joinpath, sources):
                if source.is_dir():
                    shutil.copytree(source, target / place, ignore=shutil.ignore_patterns(*IGNORED))
                else:
                    shutil.copy(source, target / place)


def run_steps(steps: list[tuple[str, str]], folder: Path, arguments: Mapping[str, str]) -> None:
    """Run the RUN steps that need no root; raises CalledProcessError for one that fails."""
    source, home = folder / "source", folder / "environment"
    source.mkdir(parents=True)
    copy_sources(steps, source)
    venv.create(home, with_pip=True)
    variables: dict[str, str] = {}
    for word, rest in steps:
        if word in ("ARG", "ENV"):
            for name, _, value in (each.partition("=") for each in shlex.split(rest)):
                own = arguments.get(name, value) if word == "ARG" else value
                variables[name] = Template(own).safe_substitute(variables)
        elif word == "RUN":
            if NEEDS_ROOT in rest:
                return
            print(f"RUN {rest}", flush=True)
            path = {"PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"}
            environment = {**os.environ, **variables, **path}
            environment.pop("UV_TORCH_BACKEND")
            subprocess.run(["bash", "-c", rest], cwd=source, env=environment, check=True)


def main(arguments: list[str]) -> None:
    """Read the Dockerfile, and run its steps."""
    folder, *given = arguments
    steps = read_steps((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    run_steps(steps, Path(folder).absolute(), dict(each.split("=", 1) for each in given))


if __name__ == "__main__":
    main(sys.argv[1:])
