"""Configuration files: option values as TOML, those of ``--config`` before those of ``./bench.toml``."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import typer

from bench.errors import UsageError, nearest, reason

HERE = Path("bench.toml")
NONE = Path(os.devnull)
HOME = re.compile(r"^((?:[\w-]+=)?)~(?=[/\\]|$)")


def expand_home(value: Any) -> Any:
    """A value, or the values in a list, with ``~`` as the home folder: ``~/x``, ``--store=~/x``, ``root=~/x``."""
    if isinstance(value, list):
        return [expand_home(each) for each in value]
    return HOME.sub(lambda found: found[1] + str(Path.home()), value) if isinstance(value, str) else value


def read_configuration(ctx: typer.Context, config: Path | None) -> Path | None:
    """Callback of ``--config``: values of the files become defaults, key by key; the null device reads no file.

    Keys at the top are global options; each command has a table. Raises UsageError for a file that cannot be read,
    and for an unknown key with the nearest one.
    """
    values: dict[str, Any] = {}
    for path in (HERE if HERE.is_file() else None, config):  # later files win
        if path is not None and config != NONE:
            try:
                _join(values, _defaults(path, "", ctx.command, tomllib.loads(path.read_text(encoding="utf-8-sig"))))
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                raise UsageError(f"Configuration file {path} cannot be read ({reason(error)}).") from error
    ctx.default_map = values
    return config


def _defaults(path: Path, words: str, command: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Defaults of the options of the command ``words``; its subcommands have tables of their own."""
    below: dict[str, Any] = getattr(command, "commands", {})
    known = {option.lstrip("-").replace("-", "_"): each for each in command.params for option in each.opts}
    known.pop("config", None)
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if isinstance(value, dict) and name in below:
            found[name] = _defaults(path, f"{words} {key}", below[name], value)
        elif name in known:
            parameter = known[name]
            if parameter.name in found:
                raise UsageError(f"Configuration file {path} sets {key!r} twice: leave one out.")
            value = expand_home(value)
            found[parameter.name] = [value] if parameter.multiple and not isinstance(value, list) else value
        else:
            place, helps = f" for{words}" * bool(words), {option: each.help or "" for option, each in known.items()}
            hint = nearest(name, [*known, *below], helps)
            raise UsageError(f"Configuration file {path} has an unknown key {key!r}{place}. {hint}")
    return found


def _join(values: dict[str, Any], later: dict[str, Any]) -> None:
    for key, value in later.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            _join(values[key], value)
        else:
            values[key] = value
