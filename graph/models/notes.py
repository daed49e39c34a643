"""What the rules of the offline model keep of a conversation that is to be summarised, and how they read it again."""

import re
from typing import Final
from xml.sax.saxutils import unescape

from holdfast.graph.context.summary import shortened

NAME = re.compile(
    r"(?:(?i:\bmy name is|\bcall me)\s+([^\W\d_][\w'-]*))|(?:(?i:\bI am|\bI'm|\bthis is)\s+([A-Z][\w'-]+))"
)
NUMBER = re.compile(r"\b\d{3,}\b")

_HEADER: Final = "(Offline stand-in: not a summary, but some of what the user wrote.)"
_SAID = re.compile(r'(?s)<message type="human">(.*?)</message>')
# How many of the messages that name an order are noted, and how many characters of each.
_ORDERS, _LONGEST = 10, 200


def summarise(request: str) -> str:
    """The notes that the rules can make: what the user wrote first and last, the last time that they gave their name,
    and where they named orders.

    Args:
        request: the notes so far and what was said since, as `holdfast.graph.context.summary.request` puts them.
    """
    notes, _, conversation = request.rpartition("<conversation>")
    said = [unescape(line) for line in noted(notes)] + [unescape(text) for text in _SAID.findall(conversation)]
    lines = [shortened(" ".join(text.split()), _LONGEST) for text in said]
    places = range(len(lines))
    names = [place for place in places if NAME.search(lines[place])]
    orders = [place for place in places if NUMBER.search(lines[place])]
    kept = {*places[:1], *names[-1:], *orders[-_ORDERS:], *places[-1:]}
    return "\n".join([_HEADER, *(f"- {lines[place]}" for place in sorted(kept))])


def noted(text: str) -> list[str]:
    """What the user wrote, oldest first, as far as notes of these rules are in the text."""
    _, _, notes = text.partition(_HEADER)
    return re.findall(r"(?m)^- (.*)$", notes)
