"""A PostgreSQL server of the tests' own, in a folder that vanishes with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLACES = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt/postgresql")
USER = "postgres"  # the server refuses to run as root


def programs() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``; None where no server is installed."""
    found = [path for place in PLACES for path in sorted(Path(place).glob("**/bin/initdb"))]
    on_path = shutil.which("initdb")
    if on_path is not None:
        found.append(Path(on_path).resolve())
    return next((path.parent for path in found if (path.parent / "pg_ctl").exists()), None)


def why_not() -> str:
    """Why no server can be started here; empty when one can."""
    if programs() is None:
        return "no PostgreSQL server is installed"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "the extra 'postgresql' is not installed"
    if os.geteuid() == 0:
        import pwd

        if USER not in {each.pw_name for each in pwd.getpwall()}:
            return f"root cannot start a server, and there is no user {USER}"
    return ""


@contextmanager
def server() -> Iterator[str]:
    """The URL of an empty database, reached by a socket in a folder of its own; gone when the block ends."""
    found = programs()
    if found is None:
        raise RuntimeError("no PostgreSQL server is installed")
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    user = USER if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    data = folder / "data"

    def call(program: str, *words: str) -> None:
        done = subprocess.run(
            [str(found / program), *words], cwd=folder, user=user, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr or done.stdout}")

    try:
        call("initdb", "-D", str(data), "-U", USER, "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=40"
        call("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            yield f"postgresql://{USER}:secret@/postgres?host={folder}"
        finally:
            call("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
