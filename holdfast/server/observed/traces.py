"""Spans of OpenTelemetry: one for each request. Without its API, or without an SDK, they cost next to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:
    from opentelemetry import trace
except ImportError:
    _tracer: Any = None
else:
    _tracer = trace.get_tracer("holdfast")


class RequestSpan:
    """The span of a request.

    Args:
        span: that of OpenTelemetry; `None` without it.
    """

    def __init__(self, span: Any = None) -> None:
        self._span = span

    @property
    def trace_id(self) -> str | None:
        """The id of the trace; `None` if no SDK records it."""
        context = None if self._span is None else self._span.get_span_context()
        return f"{context.trace_id:032x}" if context is not None and context.is_valid else None

    def ended(self, status: int) -> None:
        """Note how the request ended."""
        if self._span is not None:
            self._span.set_attribute("http.response.status_code", status)


@contextmanager
def request_span(method: str, route: str) -> Iterator[RequestSpan]:
    """Record the block as a span. It tells the method, the route and the status, and no id and no text.

    Args:
        method: the HTTP method.
        route: the path, with words in place of ids.
    """
    if _tracer is None:
        yield RequestSpan()
        return
    attributes = {"http.request.method": method, "http.route": route}
    # The message of an exception may hold what a user said.
    with _tracer.start_as_current_span(
        f"{method} {route}", attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        yield RequestSpan(span)
