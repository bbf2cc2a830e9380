"""Configuration files: option values as TOML, those of ``--config`` before those of ``./bench.toml``."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import typer

from bench.errors import UsageError, nearest

HERE = Path("bench.toml")
NONE = Path(os.devnull)


def apply_configuration(ctx: typer.Context, config: Path | None) -> None:
    """Values of TOML files become defaults: keys at the top for global options, a table for each command.

    ``config`` goes before ``./bench.toml``, key by key; the null device stands for neither. Raises UsageError for a
    file that is missing or no TOML, and for an unknown key with the nearest one.
    """
    if config == NONE:
        return
    commands: dict[str, Any] = {}
    for path in (HERE if HERE.is_file() else None, config):  # what comes later wins
        if path is not None:
            _join(commands, _values(ctx, path))
    ctx.default_map = commands


def _values(ctx: typer.Context, path: Path) -> dict[str, Any]:
    """The defaults of commands; those of global options are put into the context."""
    try:
        values = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"Configuration file {path} cannot be read ({error}).") from error
    commands: dict[str, Any] = ctx.command.commands  # type: ignore[attr-defined]
    own: dict[str, Any] = {each.name: each for each in ctx.command.params if each.name}
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if isinstance(value, dict) and name in commands:
            found[name] = _of_command(path, key, commands[name], value)
        elif name in own and name != "config":
            source = ctx.get_parameter_source(name)
            if source is None or source.name == "DEFAULT":
                ctx.params[name] = own[name].process_value(ctx, value)
        else:
            raise UsageError(f"Configuration file {path} has an unknown key {key!r}. {nearest(key, [*own, *commands])}")
    return found


def _of_command(path: Path, words: str, command: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Defaults of the options of ``words``, and of the commands below it in tables of their own."""
    below: dict[str, Any] = getattr(command, "commands", {})
    known = {option.lstrip("-").replace("-", "_"): each for each in command.params for option in each.opts}
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if isinstance(value, dict) and name in below:
            found[name] = _of_command(path, f"{words} {key}", below[name], value)
        elif name in known:
            parameter = known[name]
            found[str(parameter.name)] = [value] if parameter.multiple and not isinstance(value, list) else value
        else:
            raise UsageError(
                f"Configuration file {path} has an unknown key {key!r} for {words}. {nearest(name, [*known, *below])}"
            )
    return found


def _join(values: dict[str, Any], later: dict[str, Any]) -> None:
    for key, value in later.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _join(values[key], value)
        else:
            values[key] = value
