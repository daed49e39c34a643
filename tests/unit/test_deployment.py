"""The files of the deployment guide agree with each other, with the settings and with the package."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.server_settings import ServerSettings
from holdfast.settings import Settings
from holdfast.worker.turns import GRACE
from tests.support.forked import HOUSE

EXAMPLES = HOUSE / "examples" / "deployment"
PAGE = (HOUSE / "docs" / "guides" / "deployment.md").read_text("utf-8")

ANALYZE = shutil.which("systemd-analyze")

STOP = ServerSettings.model_fields["drain"].default + GRACE
"""Seconds that a replica takes to stop at the most, but for what it writes then."""


def read(name: str) -> str:
    return (EXAMPLES / name).read_text("utf-8")


def sections(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def lines_of(unit: str) -> list[str]:
    return [line for line in read(unit).splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(read("compose.yaml"))


def test_the_replicas_of_the_compose_file_have_time_to_stop_and_no_rights(compose: Any) -> None:
    for name in ("one", "two"):
        replica = compose["services"][name]
        assert int(replica["stop_grace_period"].removesuffix("s")) > STOP
        assert (replica["read_only"], replica["cap_drop"]) == (True, ["ALL"])
        known = {str(field.validation_alias) for field in Settings.model_fields.values()}
        assert set(replica["environment"]) <= known


def test_the_secrets_of_the_compose_file_are_files(compose: Any) -> None:
    services = compose["services"].values()
    used = {each["source"] if isinstance(each, dict) else each for s in services for each in s.get("secrets", [])}
    assert used == set(compose["secrets"])
    assert all(list(secret) == ["file"] for secret in compose["secrets"].values())


def test_the_pooler_of_the_compose_file_is_configured_as_the_other_one(compose: Any) -> None:
    here, there = sections(compose["configs"]["pgbouncer"]["content"]), sections(read("pgbouncer.ini"))
    for found in (here, there):
        for place in ("listen_addr", "unix_socket_dir", "auth_file"):
            found["pgbouncer"].pop(place, None)
    assert here["pgbouncer"] == there["pgbouncer"]
    assert here["databases"]["holdfast"] == there["databases"]["holdfast"].replace("127.0.0.1", "postgres")


def test_the_image_has_the_extras_no_root_and_no_shell_before_the_server() -> None:
    steps = dict(re.findall(r"(?m)^(CMD|USER|HEALTHCHECK) (.*)$", read("Dockerfile").replace("\\\n", "")))
    assert (steps["USER"], json.loads(steps["CMD"])) == ("10001", ["holdfast", "serve", "--router"])
    assert json.loads(steps["HEALTHCHECK"].partition("CMD ")[2])[0] == "python"
    [extras] = re.findall(r"'\.\[(.*)\]'", read("Dockerfile"))
    assert f"'/where/the/repository/is[{extras}]'" in PAGE
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text())["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    kept = re.findall(r"(?m)^!(.*)$", read("Dockerfile.dockerignore"))
    assert [name for name in kept if not (HOUSE / name).exists()] == []


def test_the_image_has_the_versions_that_are_locked() -> None:
    [program] = re.findall(r"(sed -nE '.*') requirements.lock", read("Dockerfile"))
    assert program in PAGE
    [pattern] = re.findall(r"'s/(.*)/\\1/p'", program)
    lock = (HOUSE / "requirements.lock").read_text()
    found = [re.sub(pattern, r"\1", line).partition("==")[0] for line in lock.splitlines() if re.match(pattern, line)]
    assert found == re.findall(r"(?m)^([\w.-]+)==", lock)


def test_the_settings_of_the_guide_are_known() -> None:
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    assert {*re.findall(r"\b((?:HOLDFAST|OPENAI)_\w+)=", PAGE)} <= known


def test_the_units_differ_only_in_the_port_and_have_time_to_stop() -> None:
    one, many = lines_of("holdfast.service"), lines_of("holdfast@.service")
    assert [line.replace(" --port %i", "").replace(" on port %i", "") for line in many] == one
    [seconds] = [line.removeprefix("TimeoutStopSec=") for line in one if line.startswith("TimeoutStopSec=")]
    assert int(seconds) > STOP


def test_the_balancer_takes_bodies_as_large_as_a_replica_does() -> None:
    limit = ServerSettings.model_fields["max_body"].default
    assert f"if {{ req.hdr_val(content-length) gt {limit} }}" in read("haproxy.cfg")


@pytest.mark.sweep  # it starts a process
@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    assert ANALYZE is not None
    for name, copy in (("holdfast.service", "holdfast.service"), ("holdfast@.service", "holdfast@2024.service")):
        (tmp_path / copy).write_text(read(name).replace("/opt/holdfast/bin/holdfast", sys.executable))
        done = subprocess.run([ANALYZE, "verify", tmp_path / copy], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
