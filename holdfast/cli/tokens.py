"""`holdfast tokens`: who may call the server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from holdfast.cli.errors import Mistake
from holdfast.cli.options import CommonOptions, Debug, Json, make_group, no_default
from holdfast.cli.output import print_json, print_notice
from holdfast.cli.output.text import columns, one_line, terminal_width

if TYPE_CHECKING:
    from holdfast.server.access import Token, TokenFile

app = make_group(
    "Give out, list and revoke tokens for callers of `holdfast serve`.",
    "holdfast tokens add --user grace --role approver",
)

_DEFAULT_FILE: Final = "tokens.jsonl"

File = Annotated[
    Path | None,
    no_default("--file", "FILE", f"The file of tokens. Default: HOLDFAST_TOKENS, else {_DEFAULT_FILE}.", "-f"),
]


@app.command("add", epilog="Example: holdfast tokens add --user grace --role approver --expires 2027-01-31")
def add(
    context: typer.Context,
    user: Annotated[str, no_default("--user", "NAME", "The user who will have the token.", "-u")],
    roles: Annotated[
        list[str] | None,
        no_default("--role", "ROLE", "approver, auditor or metrics. May be given several times.", "-r"),
    ] = None,
    expires: Annotated[
        str | None,
        no_default("--expires", "WHEN", "A date or time (2027-01-31; UTC). Default: it does not expire."),
    ] = None,
    file: File = None,
    debug: Debug = False,
) -> None:
    """Make a token and print it. It is stored as a hash, so it cannot be printed again.

    An approver sees and answers the requests of all conversations, and reads none. An auditor reads all conversations,
    and changes nothing. A token for metrics reads the metrics of the server.
    """
    from holdfast.server.access import InvalidAccess, Role

    if unknown := set(roles or ()).difference(Role):
        raise Mistake(f"--role {min(unknown)!r} is no role. Needed: {', '.join(Role)}.")
    tokens, path = _tokens(context, file)
    try:
        typer.echo(tokens.add(user, map(Role, roles or ()), _in_future(expires)))
    except InvalidAccess as error:
        raise Mistake(str(error)) from None
    print_notice(f"Its hash is in {path}. Serve with HOLDFAST_TOKENS={path}")


@app.command("list", epilog="Example: holdfast tokens list --json")
def list_tokens(context: typer.Context, file: File = None, as_json: Json = False, debug: Debug = False) -> None:
    """List the tokens with their users and roles, oldest first. The tokens themselves are stored nowhere."""
    from holdfast.server.access import InvalidAccess

    tokens, _ = _tokens(context, file)
    try:
        found = tokens.all()
    except InvalidAccess as error:
        raise Mistake(str(error)) from None
    if as_json:
        print_json([_as_json(token) for token in found])
        return
    rows = [(token.id, one_line(token.user_id), ", ".join(sorted(token.roles)), _state(token)) for token in found]
    for line in columns([("TOKEN", "USER", "ROLES", "STATE"), *rows], terminal_width()):
        typer.echo(line)


@app.command("revoke", epilog="Example: holdfast tokens revoke 3f9a01bc")
def revoke(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Id of the token, as `holdfast tokens list` has it.")],
    file: File = None,
    debug: Debug = False,
) -> None:
    """Refuse a token from now on. A server that runs knows it at the next request."""
    from holdfast.server.access import InvalidAccess

    tokens, _ = _tokens(context, file)
    try:
        found = tokens.revoke(token)
    except InvalidAccess as error:
        raise Mistake(str(error)) from None
    typer.echo(f"Token {found.id} of {one_line(found.user_id)} is revoked.")


def _tokens(context: typer.Context, file: Path | None) -> tuple[TokenFile, Path]:
    from holdfast.server.access import TokenFile

    path = file or CommonOptions(context).settings().tokens or Path(_DEFAULT_FILE)
    return TokenFile(path), path


def _in_future(text: str | None) -> datetime | None:
    if text is None:
        return None
    from holdfast.checkpoints.moments import epoch_seconds

    try:
        return datetime.fromtimestamp(epoch_seconds(text, "--expires", zone=UTC), UTC)
    except (ValueError, OverflowError):
        raise Mistake(f"--expires {text!r} is not a time. Needed: a date or time such as 2027-01-31.") from None


def _state(token: Token) -> str:
    if token.revoked is not None:
        return f"revoked {token.revoked:%Y-%m-%d}"
    if not token.is_valid(datetime.now(UTC)):
        return "expired"
    return "valid" if token.expires is None else f"valid until {token.expires:%Y-%m-%d %H:%M}"


def _as_json(token: Token) -> dict[str, object]:
    times = {"created": token.created, "expires": token.expires, "revoked": token.revoked}
    return {
        "id": token.id,
        "user": token.user_id,
        "roles": sorted(token.roles),
        **{name: None if time is None else time.isoformat() for name, time in times.items()},
    }
