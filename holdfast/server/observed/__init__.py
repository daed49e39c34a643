"""A server seen from outside: health, logs, metrics, traces, and in none of them a text or a token."""

from holdfast.server.observed.health import HealthGate
from holdfast.server.observed.logs import JsonFormatter, configure_logs
from holdfast.server.observed.metrics import Metrics, MetricsGate
from holdfast.server.observed.watch import WatchGate

__all__ = ["HealthGate", "JsonFormatter", "Metrics", "MetricsGate", "WatchGate", "configure_logs"]
