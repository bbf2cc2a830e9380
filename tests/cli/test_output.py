"""Tables on a narrow terminal and in a pipe."""

from __future__ import annotations

import io
import sys

import pytest

from bench.cli.output import print_rows

KEY = "0123456789abcdef"
ROWS = [
    {
        "experiment": "ours without quadruplet and without preservation on emoji-93 (seed 0, generalized)",
        "state": "to run",
        "seconds": None,
        "megabytes": 1234,
        "key": KEY,
        "fingerprint": KEY[::-1],
    }
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    print_rows("runs", ROWS)
    return stream.getvalue()


def test_a_narrow_terminal_breaks_sentences_and_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    lines = printed(Terminal(), monkeypatch).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(KEY in line and KEY[::-1] in line and "1234" in line for line in lines)


def test_a_pipe_has_one_line_a_row_and_a_dash_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    head, row = printed(io.StringIO(), monkeypatch).splitlines()
    assert head.split("\t") == list(ROWS[0])
    assert row.split("\t") == [str(ROWS[0]["experiment"]), "to run", "-", "1234", KEY, KEY[::-1]]
