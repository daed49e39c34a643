"""Times as people type them: a date, a time, or how long ago. Pure but for the clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from holdfast.cli.errors import Mistake

METAVAR: Final = "WHEN"

HELP: Final = (
    "A date or time, such as 2026-11-01 or 2026-11-01T09:30 (UTC unless it says otherwise), or how long ago: 7d."
)
"""What an option says that takes one."""

_AGO = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def seconds(text: str | None, option: str, now: datetime | None = None) -> float | None:
    """Convert a time that a person typed to epoch seconds.

    Args:
        text: an ISO date or time, in UTC unless it has an offset; or how long ago: `30m`, `12h`, `7d`, `2w`. `None` if
            the option was not given, and so is the result.
        option: which option it was given to, for the error.
        now: what "ago" is counted from; by default this computer's clock.

    Raises:
        Mistake: it is no such time.
    """
    if text is None:
        return None
    from holdfast.checkpoints.moments import epoch_seconds

    try:
        if ago := _AGO.fullmatch(text.strip().lower()):
            return ((now or datetime.now(UTC)) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).timestamp()
        return epoch_seconds(text, option, zone=UTC)
    except (ValueError, OverflowError):
        raise Mistake(
            f"{option} {text!r} is no moment. Needed: a date or time such as 2026-11-01 or 2026-11-01T09:30, or how "
            "long ago, such as 30m, 12h, 7d, 2w."
        ) from None
