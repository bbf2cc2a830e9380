"""``bench new``: the file that a plug-in starts from, with its test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.app import app

if TYPE_CHECKING:
    from bench.registry import Registry

new = typer.Typer(no_args_is_help=True, help="Begin a plug-in: a file with its test, in a package of your own.")
app.add_typer(new, name="new")

Name = Annotated[str, typer.Argument(help="What it is called on the command line, such as proxy-anchor.")]
Folder = Annotated[Path, typer.Option(help="Folder of your package; one that has no pyproject.toml gets one.")]
Package = Annotated[
    str | None, typer.Option(help="Name of the package.", show_default="the folder's own, my_bench for a new one")
]


@new.command(epilog="Example: [bold]bench new method proxy-anchor[/bold]")
def method(name: Name, folder: Folder = Path(), package: Package = None) -> None:
    """A method that `bench run -m NAME` trains: begins as a softmax over cosines."""
    from bench.methods.base import METHODS

    begin("method", name, folder, package, METHODS, f"bench run -m {name}")


@new.command(epilog="Example: [bold]bench new dataset floor-plans[/bold]")
def dataset(name: Name, folder: Folder = Path(), package: Package = None) -> None:
    """A dataset that `bench run -d NAME` uses: begins as folders of sketches and photos."""
    from bench.datasets.base import DATASETS

    begin("dataset", name, folder, package, DATASETS, f"bench data path {name}")


@new.command(epilog="Example: [bold]bench new protocol our-lab[/bold]")
def protocol(name: Name, folder: Folder = Path(), package: Package = None) -> None:
    """A protocol that `bench score --protocol NAME` carries out: one declaration."""
    from bench.evaluation.protocols.base import PROTOCOLS

    begin("protocol", name, folder, package, PROTOCOLS, f"bench score FILE --protocol {name}")


@new.command(epilog="Example: [bold]bench new report medians[/bold]")
def report(name: Name, folder: Folder = Path(), package: Package = None) -> None:
    """A kind of tables that `bench report --kind NAME` makes of stored runs."""
    from bench.reports.base import KINDS

    begin("report", name, folder, package, KINDS, f"bench report --kind {name}")


def begin(kind: str, name: str, folder: Path, package: str | None, registry: Registry[Any], then: str) -> None:
    """Write the files, print their paths, and say on stderr how to go on.

    Raises UsageError for a name that is taken or will not do, and rather than overwrite a file.
    """
    from bench.cli.scaffold import check_name, files, write
    from bench.errors import UsageError

    check_name(name)
    if name in registry.names():
        raise UsageError(f"There is a {registry.kind} {name!r} already: choose another name.")
    made = files(kind, name, folder, package)
    write(made)
    for path in made:
        typer.echo(path)
    inside = "" if folder == Path() else f"In {folder}: "
    typer.echo(
        f"{inside}`python -m pytest` tests it. `pip install --no-build-isolation -e .` makes it known,", err=True
    )
    typer.echo(f"then: {then}", err=True)
