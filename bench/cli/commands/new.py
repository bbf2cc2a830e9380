"""``bench new``: write the file of a plug-in and its test from templates."""

from __future__ import annotations

import keyword
import pkgutil
import re
import sys
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bench.cli.app import app
from bench.cli.output import write_output
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.registry import Registry

NEW_PACKAGE = "my_bench"
NAME = re.compile(r"(?=.{1,40}$)[a-z][a-z0-9]*(-[a-z0-9]+)*")


# Kinds of plug-ins, each with its registry, the object that its module defines, and a command that uses it.
PARTS = {
    "method": ("bench.methods.base:METHODS", "$class_name", "bench run -m $name"),
    "dataset": ("bench.datasets.base:DATASETS", "$class_name", "bench data path $name"),
    "protocol": ("bench.evaluation.protocols.base:PROTOCOLS", "$constant", "bench score FILE --protocol $name"),
    "report": ("bench.reports.base:KINDS", "${module}_tables", "bench report --kind $name"),
}


@app.command(no_args_is_help=True, epilog="Example: bench new method proxy-anchor")
def new(
    kind: Annotated[Literal["method", "dataset", "protocol", "report"], typer.Argument(help="What to write.")],
    name: Annotated[str, typer.Argument(help="Its name on the command line, such as proxy-anchor.")],
    folder: Annotated[Path, typer.Option(help="Folder of your package.")] = Path(),
    package: Annotated[
        str | None, typer.Option(help="Name of the package.", show_default=f"the one in the folder, else {NEW_PACKAGE}")
    ] = None,
) -> None:
    """Write a new plug-in: one file and its test, in a package of your own.

    The file works at once. No file is overwritten. A pyproject.toml is written if there is none; otherwise its new
    lines are printed.
    """
    place, defines, use = PARTS[kind]
    registry: Registry[Any] = pkgutil.resolve_name(place)
    check_name(name, registry)
    package = choose_package(folder, package)
    module = name.replace("-", "_")
    words = {
        "name": name,
        "title": name.replace("-", " ").capitalize(),
        "module": module,
        "class_name": name.replace("-", " ").title().replace(" ", ""),
        "constant": module.upper(),
        "package": package,
        "distribution": package.replace("_", "-"),
        "group": registry.group,
        "entry_point": f"{registry.prefix}{name}",
    }
    words["object"] = Template(defines).substitute(words)
    home, project = folder / "src" / package, folder / "pyproject.toml"
    home = home if home.is_dir() else folder / package
    files = {
        home / f"{module}.py": fill_template(f"{kind}.py", words),
        folder / "tests" / f"test_{module}.py": fill_template(f"test_{kind}.py", words),
    }
    once = {home / "__init__.py": '"""Plug-ins for bench."""\n', project: fill_template("pyproject.toml", words)}
    for path in files:
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists and is not overwritten: choose another name or --folder.")
    missing = {path: text for path, text in once.items() if not path.exists()}
    for path, text in (files | missing).items():
        write_output(path, text, "--folder")
        typer.echo(path)
    typer.echo(("" if folder == Path() else f"In {folder}: ") + "`python -m pytest` tests it.", err=True)
    if project not in missing:
        typer.echo("\n".join([f"Add to {project}:", *once[project].splitlines()[-2:]]), err=True)
    use = Template(use).substitute(words)
    typer.echo(f"`pip install --no-build-isolation -e .` makes it known, then: {use}", err=True)


def check_name(name: str, registry: Registry[Any]) -> None:
    """Raise UsageError unless ``name`` is free and can name a module."""
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(
            "A name is a letter and then letters, digits and single hyphens, all lower case, at most 40, and no word "
            f"of Python: proxy-anchor, not {name!r}."
        )
    if name in registry.names():
        raise UsageError(f"There is a {registry.kind} {name!r} already: choose another name.")


def choose_package(folder: Path, requested: str | None) -> str:
    """The package that was requested, else the only one in the folder or its ``src``, else ``NEW_PACKAGE``."""
    there = {path.parent.name for pattern in ("*", "src/*") for path in folder.glob(f"{pattern}/__init__.py")}
    there -= {"tests"}
    name = requested if requested is not None else there.pop() if len(there) == 1 else NEW_PACKAGE
    if not name.isidentifier() or keyword.iskeyword(name) or name in {"bench", "tests", *sys.stdlib_module_names}:
        raise UsageError(f"A package cannot be called {name!r}: name one like {NEW_PACKAGE} by --package.")
    return name


def fill_template(name: str, words: dict[str, str]) -> str:
    """A template of ``bench/templates`` with its words."""
    text = pkgutil.get_data("bench", f"templates/{name}.txt") or b""
    return Template(text.decode()).substitute(words)
