"""A deployment as the guide has it: HAProxy, two replicas, PgBouncer and PostgreSQL, and an agent to talk to."""

from __future__ import annotations

import csv
import datetime
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import tool

from holdfast.checkpoints import HoldfastSaver
from holdfast.graph import build_graph, needs_approval, once
from holdfast.graph.conversation.agents import AnyAgent
from holdfast.server.access import Role, TokenFile
from tests.support import poolers
from tests.support.forked import HOUSE
from tests.support.graph_kit import StrictModel, calls, says
from tests.support.serving import PATIENCE, Server, free_port, served

EXAMPLES = HOUSE / "examples" / "deployment"
NAME = "chat.example"

_HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def missing() -> str | None:
    """Return why there can be no deployment for a test; `None` if there can be one."""
    if _HAPROXY is None:
        return "HAProxy is not installed; `make haproxy` installs it where apt-get may"
    if os.getuid() != 0:
        return "HAProxy changes its user, as the example has it, which only root may"
    return poolers.missing()


# --- the agent


class Clerk(StrictModel):
    """Thinks for a moment. It books what it is asked to; "ask" needs an approval, "hold" a signal."""

    def line(self, messages: list[BaseMessage]) -> AIMessage:
        time.sleep(0.1)  # so that a replica dies or stops in the middle of turns
        wanted = next(message.text for message in reversed(messages) if isinstance(message, HumanMessage))
        if isinstance(messages[-1], HumanMessage):
            return calls(("ask_and_book" if wanted.startswith("ask") else "book", {"what": wanted}))
        while wanted.startswith("hold") and not _signal(wanted).exists():
            time.sleep(0.02)  # a file tells no process
        return says("booked")


def release(what: str, bookings: Path) -> None:
    """Let the turn go on that holds."""
    _signal(what, bookings).touch()


def _signal(what: str, bookings: Path | None = None) -> Path:
    return (bookings or Path(os.environ["BOOKINGS"])).with_name(what.replace(" ", "-"))


def clerk(checkpointer: HoldfastSaver) -> AnyAgent:
    """An agent for `holdfast serve --router --agent`. Its bookings are lines of the file that the environment names."""
    bookings = Path(os.environ["BOOKINGS"])

    def note(what: str) -> str:
        with bookings.open("a") as file:
            file.write(f"{what}\n")
        return "done"

    @once
    @tool
    def book(what: str) -> str:
        """Book something."""
        return note(what)

    @needs_approval
    @tool
    def ask_and_book(what: str) -> str:
        """Book something that needs an approval."""
        return note(what)

    return build_graph(model=Clerk(), tools=[book, ask_and_book], checkpointer=checkpointer)


# --- what runs


@dataclass
class Deployment:
    """Two replicas behind a balancer."""

    url: str
    operators: str
    certificate: Path
    bookings: Path
    tokens: dict[str, str]
    environment: dict[str, str]
    ports: dict[str, int]

    def client(self, user: str = "ada") -> httpx.Client:
        """Return a client of the balancer for a user, who trusts its certificate."""
        context = ssl.create_default_context(cafile=self.certificate)
        headers = {"Host": NAME, "Authorization": f"Bearer {self.tokens[user]}"}
        return httpx.Client(base_url=self.url, headers=headers, verify=context, timeout=PATIENCE)

    @contextmanager
    def replica(self, name: str) -> Iterator[Server]:
        """Run a replica: one that the balancer knows by this name."""
        words = ("-m", "holdfast", "serve", "--router", "--agent", "tests.support.deployed:clerk")
        with served(self.bookings.parent, words, port=self.ports[name], **self.environment) as server:
            try:
                yield server
            finally:
                server.kill()  # else it would drain

    def ready(self) -> set[str]:
        """Return the names of the replicas that the balancer sends requests to."""
        rows = csv.DictReader(httpx.get(f"{self.operators}/stats;csv").text.removeprefix("# ").splitlines())
        return {row["svname"] for row in rows if row["pxname"] == "replicas" and row["status"].startswith("UP")} & {
            *self.ports
        }

    def wait_until_ready(self, *names: str) -> None:
        """Wait until these replicas, and no others, get requests."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.ready()) != {*names}:
            assert time.monotonic() < deadline, f"ready: {found}"
            time.sleep(0.1)  # it tells no client


@contextmanager
def deployment(folder: Path, database: str) -> Iterator[Deployment]:
    """Run HAProxy and PgBouncer as the examples configure them, before a database. No replica runs yet.

    Args:
        folder: a folder for what they write.
        database: its URL, on a server with a socket in a folder.
    """
    tokens = TokenFile(folder / "tokens.jsonl")
    made = {user: tokens.add(user, roles) for user, roles in (("ada", []), ("grace", [Role.APPROVER]))}
    ports, certificate = {name: free_port() for name in ("one", "two")}, make_certificate(folder)
    balancer, operators = free_port(), free_port()
    with ExitStack() as stack:
        pooled = stack.enter_context(
            poolers.configured_pgbouncer(database, EXAMPLES / "pgbouncer.ini", folder / "pgpass")
        )
        environment = {
            "HOLDFAST_DATABASE": pooled,
            "HOLDFAST_TOKENS": str(folder / "tokens.jsonl"),
            "HOLDFAST_HOSTS": NAME,
            "HOLDFAST_MAX_TURNS": "100000",
            "HOLDFAST_DRAIN": "15",
            "BOOKINGS": str(folder / "bookings"),
        }
        stack.enter_context(
            haproxy(
                folder / "haproxy.log",
                BIND=f"127.0.0.1:{balancer}",
                OPERATORS=f"127.0.0.1:{operators}",
                CERTIFICATE=str(certificate),
                **{f"REPLICA_{name.upper()}": f"127.0.0.1:{port}" for name, port in ports.items()},
            )
        )
        urls = f"https://127.0.0.1:{balancer}", f"http://127.0.0.1:{operators}"
        yield Deployment(*urls, certificate, folder / "bookings", made, environment, ports)


@contextmanager
def haproxy(log: Path, **environment: str) -> Iterator[None]:
    """Run HAProxy with the configuration of the examples, for as long as the block takes.

    Args:
        log: is written.
        environment: the variables that the configuration reads.
    """
    assert _HAPROXY is not None
    command = [_HAPROXY, "-db", "-f", EXAMPLES / "haproxy.cfg"]
    with log.open("w") as file:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=file, stderr=file)
    try:
        _wait_until_up(process, f"http://{environment['OPERATORS']}/stats")
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _wait_until_up(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            httpx.get(url)
        except httpx.TransportError:
            assert process.poll() is None, f"HAProxy ended with {process.returncode}"
            assert time.monotonic() < deadline
            time.sleep(0.02)  # nothing tells when it listens
        else:
            return


def make_certificate(folder: Path) -> Path:
    """Make a certificate for the balancer that it has signed itself, with its key in the same file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    names = x509.SubjectAlternativeName([x509.DNSName(NAME), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "holdfast.pem"
    path.touch(0o600)
    path.write_bytes(certificate.public_bytes(pem) + private)
    return path
