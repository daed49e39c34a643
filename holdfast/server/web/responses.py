"""Responses in JSON that can hold every text which a database can hold."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse


class AnyTextResponse(JSONResponse):
    """JSON in ASCII: half of a surrogate pair, which a client may have sent, has no form in UTF-8."""

    def render(self, content: Any) -> bytes:
        """Return the content as JSON."""
        return json.dumps(content, separators=(",", ":")).encode()
