"""docs/commands.md, made from the command line itself: every command with its arguments, options and defaults.

Run ``python -m tools.commands_page`` to write it anew; a test fails when it is out of date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import bench.cli.main  # noqa: F401 (it imports every command)
from bench.cli.app import app

PAGE = Path(__file__).resolve().parents[1] / "docs" / "commands.md"
HEAD = """# Commands

Made from the command line by `python -m tools.commands_page`; `bench COMMAND --help` says the same. Standard output
carries results alone, everything else goes to standard error.

A value is taken from the first of: the option, the environment variable, the file of `--config`, `./bench.toml`, the
default. Option `--some-thing` of command `run` is the variable `BENCH_RUN_SOME_THING`, and in a file `some-thing` in
the table `[run]`; of command `data check`, `BENCH_DATA_CHECK_SOME_THING` and the table `[data.check]`. Global options
are `BENCH_STORE`, `BENCH_DATA_ROOT` and so on, and stand at the top of a file:

```toml
store = "postgresql://server/results"
data-root = "/data"

[run]
dataset = ["sketchy", "tuberlin"]
seeds = 3
set = ["margin=0.3", "backbone=resnet50"]
```

`--config /dev/null` reads neither that file nor `./bench.toml`.

`--format json` of `bench run` prints an object for one run and a list for several; one run is

```json
{"run": 3, "method": "ours", "ablation": "", "dataset": "emoji", "split": "emoji-93", "seed": 0,
 "selection": "last", "gallery": "unseen", "post": {}, "fingerprint": "7e22f0bb...", "seconds": 92.1,
 "already_done": false,
 "scores": [{"metric": "mAP@all:plain", "average": "queries", "value": 0.592, "queries": 431, "skipped": 0}]}
```

`seconds` is the sum of the run's parts, `skipped` how many of the `queries` have no relevant photo and are left out of
the mean.

| exit code | meaning |
| ---: | --- |
| 0 | done, or done before |
| 1 | a bug: please report it with its traceback |
| 2 | an option, name or setting that does not exist or does not fit |
| 3 | data missing or invalid |
| 4 | some runs failed, the selection is empty, or `--check` differs |
| 5 | out of memory |
| 6 | storage: full, locked for too long, or written by a newer version |
| 7 | a plug-in, weights file or checkpoint that cannot be loaded |
| 130, 143 | Ctrl-C, SIGTERM |
"""


def render() -> str:
    """The whole page."""
    program: Any = typer.main.get_command(app)
    context = program.make_context("bench", ["doctor"], resilient_parsing=True)
    parts = [HEAD, "## Global options\n\nThey may stand anywhere on the line.\n", options_table(program, context)]
    for words, command in commands(program):
        parts += [f"## `{' '.join(words)}`\n", *about(words, command, context)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def commands(program: Any) -> Iterator[tuple[list[str], Any]]:
    """Every command that does something, with the words that call it, in alphabetical order."""
    for name, command in sorted(program.commands.items()):
        if hasattr(command, "commands"):
            yield from ((["bench", name, *words[1:]], each) for words, each in commands(command))
        else:
            yield ["bench", name], command


def about(words: list[str], command: Any, context: Any) -> Iterator[str]:
    """Sections of one command: what it does, how it is called, what it takes."""
    if command.help:
        yield code_in(inspect.cleandoc(command.help)) + "\n"
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    usage = [*words, *(argument(each) for each in arguments), "[OPTIONS]"]
    yield f"```text\n{' '.join(usage)}\n```\n"
    said = [f"| `{argument(each)}` | {cell(each.help or '')} |" for each in arguments]
    if any(each.help for each in arguments):
        yield "\n".join(["| argument | what it is |", "| --- | --- |", *said]) + "\n"
    if any(shown(each) for each in command.params):
        yield options_table(command, context)
    if command.epilog:
        yield code_in(re.sub(r"\[/?bold\]", "`", command.epilog)) + "\n"


def argument(parameter: Any) -> str:
    """An argument as it stands in a call: in capitals, with brackets where it may be left out."""
    name = parameter.name.upper() + "..." * (parameter.nargs == -1)
    return name if parameter.required else f"[{name}]"


def options_table(command: Any, context: Any) -> str:
    """A row for each option: its names and value, what it does, its default."""
    rows = [
        f"| {names(each, context)} | {cell(each.help or '')} | {default(each, context)} |"
        for each in command.params
        if shown(each)
    ]
    return "\n".join(["| option | what it does | default |", "| --- | --- | --- |", *rows]) + "\n"


def shown(parameter: Any) -> bool:
    """Whether a parameter is an option of ours: what a shell's completion needs is left out."""
    return parameter.param_type_name == "option" and not parameter.hidden and "completion" not in parameter.name


def names(option: Any, context: Any) -> str:
    """Names of an option and the word for its value."""
    plain_flag = [f"--no-{name.removeprefix('--')}" for name in option.opts] == option.secondary_opts
    written = [
        *option.opts,
        *(() if plain_flag and not option.get_default(context, call=True) else option.secondary_opts),
    ]
    if not option.is_flag:
        # The value as the help has it: ``<list[str]>``, ``<table|json>`` or a word of ours.
        kind = str(option.get_help_record(context)[0]).partition(option.opts[-1])[2].strip()
        plain = kind.removeprefix("<").removesuffix(">")
        base = plain.removeprefix("list[").removesuffix("]").removesuffix(" range")
        word = {"str": "TEXT", "int": "N", "float": "X", "path": "PATH"}.get(base, plain)
        written[-1] += f" {word}"
    return cell(", ".join(f"`{each}`" for each in written))


def default(option: Any, context: Any) -> str:
    """The value of an option that is not given; empty where there is none, and for a flag that is off."""
    if isinstance(option.show_default, str):
        return cell(option.show_default)
    value = option.get_default(context, call=True)
    if option.required:
        return "required"
    if option.is_flag:
        return f"`{option.opts[-1]}`" if value else ""
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return cell(", ".join(f"`{getattr(each, 'value', each)}`" for each in values if each != ""))


def code_in(text: str) -> str:
    """Help as Markdown: paragraphs on one line, angle brackets kept."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")).replace("<", "&lt;")


def cell(text: str) -> str:
    """Help as a cell of a table."""
    return code_in(text).replace("|", "&#124;") if "`" not in text else code_in(text).replace("|", "\\|")


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
