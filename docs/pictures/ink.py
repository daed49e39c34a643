"""The colours of the pictures, for a light and for a dark page."""

from __future__ import annotations

from typing import Final, NamedTuple


class Ink(NamedTuple):
    """The colours of a picture."""

    text: str
    faint: str
    line: str
    fill: str
    accent: str
    on_accent: str
    warning: str


INKS: Final = {
    "light": Ink("#24292f", "#59636e", "#b6bfc8", "#f2f5f7", "#00796b", "#ffffff", "#9a6700"),
    "dark": Ink("#e6edf3", "#9aa4ae", "#4b535c", "#1c2229", "#4db6ac", "#0d1117", "#d9a93f"),
}
