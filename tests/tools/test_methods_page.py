"""docs/methods.md is up to date."""

from __future__ import annotations

from tools import methods_page


def test_the_page_is_up_to_date() -> None:
    text = methods_page.PAGE.read_text(encoding="utf-8")
    assert methods_page.render() == text, "write docs/methods.md again with `python -m tools.methods_page`"
