"""docs/commands.md is up to date."""

from __future__ import annotations

from tools import commands_page

TEXT = commands_page.PAGE.read_text(encoding="utf-8")


def test_the_page_is_up_to_date() -> None:
    assert commands_page.render() == TEXT, "write docs/commands.md again with `python -m tools.commands_page`"


def test_rows_have_names_values_and_defaults() -> None:
    section = TEXT.partition("## `bench run`")[2].partition("\n## ")[0]
    rows = {line.split(" | ")[0].strip("| "): line for line in section.splitlines() if line.startswith("| `-")}
    assert rows["`--resume`, `--no-resume`"].endswith("| `--resume` |")
    assert rows["`--dry-run`"].endswith("|  |")
    assert rows["`--format table\\|json`"].endswith("| `table` |")
    assert rows["`--split TEXT`"].endswith("| the dataset's |")
    assert "Example: `bench run -m imagenet -m ours -d emoji --seeds 3`" in section


def test_arguments_stand_in_the_call() -> None:
    assert "bench new KIND NAME [OPTIONS]" in TEXT
    assert "bench list backbones [PATTERN] [OPTIONS]" in TEXT
