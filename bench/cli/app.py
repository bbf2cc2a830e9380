"""The program ``bench``: global options and exit codes. Each file of ``commands`` is one command."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from bench import __version__
from bench.cli.config import expand_home, read_configuration
from bench.distributed.failure import message_of, prints_error
from bench.errors import BenchError, UsageError, nearest
from bench.network import OFFLINE
from bench.signals import Terminated

METAVARS = {"str": "TEXT", "int": "N", "float": "X", "path": "PATH"}  # of values, by typer's name of their type


class Settings(typer.Context):
    """Values of configuration files, where ``store`` is an option and ``[store.merge]`` the table of a command."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if not isinstance(self.default_map, dict):
            self.default_map = None

    def lookup_default(self, name: str, call: Any = True) -> Any:
        """The value of an option; none for a table."""
        table = isinstance((self.default_map or {}).get(name), dict)
        return super().lookup_default("" if table else name, call)


class Program(TyperGroup):
    """Accepts global options anywhere on the line; a BenchError becomes one sentence and its exit code."""

    context_class = Settings

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Expand ``~``, and move global options in front of the command, where click expects them."""
        program: Any = self
        program.format_options = partial(_format_options, program)
        os.environ.update({k: expand_home(v) for k, v in os.environ.items() if k.startswith("BENCH_")})
        values = {name: 0 if option.is_flag else 1 for option in program.params for name in option.opts}
        front: list[str] = []
        rest: list[str] = []
        words = iter([expand_home(word) for word in args])
        for word in words:
            if word == "--":
                rest += [word, *words]
            elif word.partition("=")[0] in values:
                front += [word, *islice(words, values.get(word, 0))]
            else:
                rest.append(word)
        with exit_codes():
            self._refuse_repeated(front, rest)
            return super().parse_args(ctx, front + rest)

    def _refuse_repeated(self, front: list[str], rest: list[str]) -> None:
        """Raise UsageError for an option that takes one value and is given two; click would take the last."""
        command: Any = self
        for word in rest:
            command = getattr(command, "commands", {}).get(word, command)
        words = [word.partition("=")[0] for word in (*front, *rest[: [*rest, "--"].index("--")])]
        for option in (*self.params, *command.params):
            given = [word for word in words if word in option.opts and word.startswith("-")]
            if len(given) > 1 and not (option.multiple or option.is_flag):
                raise UsageError(f"Option {given[0]} takes one value, but is given {len(given)} times.")

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command with compact help."""
        command: Any = super().get_command(ctx, cmd_name)
        for each in (command, *getattr(command, "commands", {}).values()) if command is not None else ():
            each.context_class = Settings
            each.format_options = partial(_format_options, each)
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with exit_codes():
            return super().invoke(ctx)


def _format_options(command: Any, ctx: Any, formatter: Any) -> None:
    """Write the options by panel, with short words for values and no environment variables."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        if parameter.param_type_name == "option":
            parameter.show_envvar = False
            kind = re.sub(r"list\[(.*)\]|<|>| range", r"\1", parameter.display_type_rich(ctx=ctx))
            parameter.metavar = parameter.metavar or METAVARS.get(kind)
        if record := parameter.get_help_record(ctx):
            panels.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(record)
    if len(panels) == 1 or hasattr(command, "commands"):
        type(command).format_options(command, ctx, formatter)
        return
    for title, records in panels.items():
        with formatter.section(title):
            formatter.write_dl(records)


def _exit(error: BaseException, text: str, code: int) -> NoReturn:
    """Print ``text`` on stderr, unless another rank of the same run prints it, and exit."""
    if (message := message_of(error, text)) is not None:
        typer.echo(message, err=True)
    raise typer.Exit(code) from error


@contextmanager
def exit_codes() -> Iterator[None]:
    """Print a BenchError of the block as ``error: <sentence>``, and exit with its code. Of several ranks one prints."""
    try:
        yield
    except BenchError as error:
        _exit(error, f"error: {error}", error.exit_code)
    except KeyboardInterrupt as error:
        _exit(error, "Interrupted; what was finished is stored.", 143 if isinstance(error, Terminated) else 130)
    except Exception as error:  # a bug, or a wrong option, which click prints
        if isinstance(error, typer.BadParameter):
            error.message = _name_value(error)
        if hasattr(error, "possibilities") and hasattr(error, "option_name"):
            error.message, error.possibilities = _name_option(error), []  # type: ignore[attr-defined]
        if isinstance(error, typer.Exit) or prints_error():
            raise
        raise typer.Exit(getattr(error, "exit_code", 1)) from error


def _name_value(error: typer.BadParameter) -> str:
    """The message of a wrong value, with the value itself where pydantic writes "Input"."""
    cause: Any = error.__cause__
    message = error.message.removeprefix("Value error, ")
    if not message.startswith("Input ") or not hasattr(cause, "errors"):
        return message
    problem = message.removeprefix("Input ").partition(",")[0]
    return f"{cause.errors()[0]['input']!r} {problem}."


def _name_option(error: Any) -> str:
    """The message of an unknown option, with the nearest one by name or meaning; settings have none of their own."""
    options = {name: each.help or "" for each in error.ctx.command.params for name in each.opts}
    setting = error.option_name.strip("-").replace("-", "_")
    hint = f"No such option: {error.option_name}. {nearest(error.option_name, options, options)}"
    return f"{hint} If it is a setting, write --set {setting}=VALUE." if "--set" in options else hint


app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"auto_envvar_prefix": "BENCH", "help_option_names": ["-h", "--help"]},
    epilog="Global options may be anywhere on the line. Option --some-thing of run is also BENCH_RUN_SOME_THING, "
    "--store is BENCH_STORE. "
    "Example: bench run -m imagenet -m ours -d emoji",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bench {__version__}")
        raise typer.Exit


@app.callback()
def program(
    store: Annotated[str, typer.Option(help="Results database: a path or an SQLAlchemy URL.")] = "./bench.db",
    data_root: Annotated[Path, typer.Option(help="Folder of the datasets.")] = Path("./data"),
    cache_dir: Annotated[
        Path | None, typer.Option(help="Cache folder; safe to delete.", show_default="the platform's")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of option values.",
            show_default="./bench.toml if it is there",
            callback=read_configuration,
            is_eager=True,
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Log more to stderr.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print warnings and errors only.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing, not even missing weights.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Benchmark zero-shot sketch-based image retrieval: train, rank exactly, store, report."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    logging.getLogger("bench").setLevel(level)
    if offline:
        os.environ[OFFLINE] = "1"
