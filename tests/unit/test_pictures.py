"""The pictures of the documentation are those that their programs draw."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from docs.pictures import terminal
from docs.pictures.diagrams import DIAGRAMS
from docs.pictures.ink import INKS
from tests.support.forked import HOUSE

PICTURES = HOUSE / "docs" / "pictures"


@pytest.mark.parametrize("scheme", INKS)
def test_each_diagram_is_the_one_that_is_drawn(scheme: str) -> None:
    for name, draw in DIAGRAMS.items():
        assert (PICTURES / f"{name}-{scheme}.svg").read_text("utf-8") == draw(INKS[scheme]), "run `make pictures`"


@pytest.mark.sweep
def test_the_picture_of_an_approval_shows_what_the_commands_print(tmp_path: Path) -> None:
    output = terminal.output(tmp_path)
    for scheme, ink in INKS.items():
        shown = (PICTURES / f"approval-{scheme}.svg").read_text("utf-8")
        assert _words(shown) == _words(terminal.picture(output, ink)), "run `make pictures`"
        assert "Grace has answered this already" in _words(shown)


def _words(svg: str) -> str:
    """Return the text of a picture, without what differs from run to run: ids and times."""
    words = " ".join(unescape(line) for line in re.findall(r"<text[^>]*>(.*?)</text>", svg))
    return re.sub(r"[0-9a-f]{8,}|\d{4}-\d\d-\d\d|\d\d:\d\d", "…", " ".join(words.split()))
