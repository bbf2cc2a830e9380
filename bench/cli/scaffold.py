"""The first files of a plug-in: a module with its test, and the line of ``pyproject.toml`` that makes it known.

Everything is checked before the first file is written, and no file is ever overwritten.
"""

from __future__ import annotations

import keyword
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from bench.errors import UsageError

PACKAGE = "my_bench"  # of a new package, unless another name is asked for
LONGEST = 40  # characters of a name
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
TAKEN = frozenset(("bench", "methods", "datasets", "reports", "tests", "tools"))  # packages of the project itself


@dataclass(frozen=True)
class Part:
    """A kind of thing that a package can add: its entry-point group, and how its entry points are called and end."""

    group: str
    key: str
    leads_to: str


PARTS = {
    "method": Part("bench.methods", "$name", "$class_name"),
    "dataset": Part("bench.datasets", "$name", "$class_name"),
    "protocol": Part("bench.protocols", "$name", "$constant"),
    "report": Part("bench.reports", "kind.$name", "${module}_tables"),
}


def check_name(name: str) -> None:
    """Raise UsageError unless ``name`` can be typed after an option and made the name of a module."""
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise UsageError(
            f"A name is a letter and then letters, digits and single hyphens, all lower case and at most {LONGEST}, "
            f"such as proxy-anchor: not {name!r}."
        )
    if keyword.iskeyword(name):
        raise UsageError(f"{name!r} is a word of Python and cannot name a module: choose another.")


def files(kind: str, name: str, folder: Path, package: str | None = None) -> dict[Path, str]:
    """What is to be written for a new ``kind`` (of ``PARTS``) called ``name``, by path below ``folder``, in order.

    A folder with a ``pyproject.toml`` holds the user's package already: the file gets one more entry point. Elsewhere
    a package of that name is begun. Raises UsageError for a name that will not do, a file that is there already, and a
    ``pyproject.toml`` that cannot be read or changed.
    """
    check_name(name)
    project = folder / "pyproject.toml"
    begun = _read(project)
    package = _package(project, begun, package)
    home = folder / "src" if (folder / "src" / package).is_dir() else folder
    if begun is not None and not (home / package).is_dir():
        raise UsageError(
            f"{project} is there, but no folder {package} beside it: name its package by --package, or another folder "
            "by --folder."
        )
    words = {
        "name": name,
        "title": name.replace("-", " ").capitalize(),
        "module": (module := name.replace("-", "_")),
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "constant": module.upper(),
        "package": package,
        "distribution": package.replace("_", "-"),
    }
    part = PARTS[kind]
    key = Template(part.key).substitute(words)
    value = f"{package}.{module}:{Template(part.leads_to).substitute(words)}"
    made: dict[Path, str] = {}
    if not (home / package / "__init__.py").exists():
        made[home / package / "__init__.py"] = '"""Plug-ins for bench: one file each, named in pyproject.toml."""\n'
    made[home / package / f"{module}.py"] = _filled(kind, words)
    made[folder / "tests" / f"test_{module}.py"] = _filled(f"test_{kind}", words)
    for path in made:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} is there already and is not overwritten: choose another name or --folder.")
    text = _filled("pyproject", words, "toml") if begun is None else begun
    made[project] = with_entry_point(text, part.group, key, value, str(project))
    return made


def with_entry_point(text: str, group: str, key: str, value: str, where: str) -> str:
    """The text of a ``pyproject.toml`` with one more entry point; everything else keeps its bytes.

    Raises UsageError, with the line to add by hand, where the table is written in another way or has the key.
    """
    header = f'[project.entry-points."{group}"]'
    line = f'"{key}" = "{value}"'
    before = tomllib.loads(text)
    lines = text.splitlines(keepends=True)
    there = [number for number, each in enumerate(lines) if each.strip() == header]
    if there:
        lines.insert(there[0] + 1, f"{line}\n")
        changed = "".join(lines)
    else:
        changed = f"{text.rstrip()}\n\n{header}\n{line}\n"
    wanted = tomllib.loads(text)
    try:
        points: dict[str, Any] = wanted.setdefault("project", {}).setdefault("entry-points", {}).setdefault(group, {})
        points[key] = value
        fits = key not in before["project"].get("entry-points", {}).get(group, {}) and tomllib.loads(changed) == wanted
    except (tomllib.TOMLDecodeError, KeyError, AttributeError, TypeError):
        fits = False
    if not fits:
        raise UsageError(f"{where} is not written as expected: add {line} below {header} yourself, in a [project].")
    return changed


def write(made: dict[Path, str]) -> None:
    """Write the files, their folders first; raises UsageError where that cannot be."""
    for path, text in made.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written ({error.strerror}): name another folder by --folder."
            ) from error


def _read(project: Path) -> str | None:
    """The text of a ``pyproject.toml``; None where there is none."""
    try:
        text = project.read_text(encoding="utf-8")
        tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{project} cannot be read ({error}): mend it, or name another folder by --folder.") from error
    return text


def _package(project: Path, begun: str | None, asked: str | None) -> str:
    """The name of the package: the one asked for, else that of the project in the folder, else ``PACKAGE``."""
    named = PACKAGE
    if asked is None and begun is not None:
        about = tomllib.loads(begun).get("project", {})
        named = re.sub(r"[-_.]+", "_", str(about.get("name", PACKAGE))).lower()
        packages = list(_packages(project.parent))
        if named not in packages and len(packages) == 1:
            named = packages[0]
    name = asked if asked is not None else named
    wrong = not re.fullmatch(r"[a-z_][a-z0-9_]*", name) or keyword.iskeyword(name)
    if wrong or name in TAKEN or name in sys.stdlib_module_names:
        raise UsageError(f"A package cannot be called {name!r}: name one like {PACKAGE} by --package.")
    return name


def _packages(folder: Path) -> Iterator[str]:
    """Names of the packages in a folder or its ``src``."""
    for home in (folder, folder / "src"):
        if home.is_dir():
            yield from sorted(each.parent.name for each in home.glob("*/__init__.py") if each.parent.name not in TAKEN)


def _filled(template: str, words: dict[str, str], ending: str = "py") -> str:
    text = (resources.files("bench") / "templates" / f"{template}.{ending}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(words)
