"""Access control that a user's own `langgraph.json` names, in place of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.server import run
from holdfast.server.access import TokenFile
from holdfast.settings import load


def test_an_own_access_control_may_be_reached_by_others_but_not_passed_by_with_a_header() -> None:
    auth: dict[str, Any] = {"path": "/srv/auth.py:auth", "disable_studio_auth": False}
    assert run._set_up_access(load(host="192.0.2.7"), auth) == "that of /srv/auth.py:auth"
    assert auth["disable_studio_auth"] is True


def test_two_access_controls_are_refused(tmp_path: Path) -> None:
    TokenFile(tmp_path / "tokens.jsonl").add("ada")
    with pytest.raises(run.CannotServe, match="Leave out one"):
        run._set_up_access(load(tokens=tmp_path / "tokens.jsonl"), {"path": "/srv/auth.py:auth"})


@pytest.mark.parametrize("given", ["jwt_keys", "jwt_audience", "jwt_issuer"])
def test_tokens_of_a_service_need_all_that_tells_whose_they_are(given: str) -> None:
    with pytest.raises(run.CannotServe, match="is not set, and JSON Web Tokens are to be accepted"):
        run._set_up_access(load(**{given: "https://login.example"}), dict(run.OURS["auth"]))
