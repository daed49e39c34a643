"""The limits and the names of a server, as the settings have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.server.gates.hosts import KnownNames
from holdfast.server.gates.limits import Limits

if TYPE_CHECKING:  # it needs the packages of the command line
    from holdfast.server_settings import ServerSettings


def make_limits(settings: ServerSettings, *, has_access_control: bool) -> Limits:
    """Return the limits that the settings have. Without access control, turns are not those of one user."""
    turns, streams = (60, 20) if has_access_control else (None, None)
    return Limits(settings.max_body, settings.max_message, settings.max_turns or turns, settings.max_streams or streams)


def known_names(settings: ServerSettings) -> KnownNames:
    """Return the names of the server, and the origins of the pages that may call it, as the settings have them.

    Raises:
        InvalidAccess: the server listens on all addresses, and its names are not set.
    """
    return KnownNames.of(settings.host, _listed(settings.hosts), _listed(settings.origins))


def _listed(names: str | None) -> list[str]:
    return [name.strip() for name in (names or "").split(",") if name.strip()]
