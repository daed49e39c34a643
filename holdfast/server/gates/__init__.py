"""ASGI middleware before a server: by which name it is called, by whom, and how much they send.

It knows nothing of LangGraph's server, and serves an application of your own as well.
"""

from holdfast.server.gates.access import AccessGate, principal_of, user_of
from holdfast.server.gates.hosts import HostGate, KnownNames
from holdfast.server.gates.limits import LimitGate, Limits
from holdfast.server.gates.setup import known_names, make_limits

__all__ = [
    "AccessGate",
    "HostGate",
    "KnownNames",
    "LimitGate",
    "Limits",
    "known_names",
    "make_limits",
    "principal_of",
    "user_of",
]
