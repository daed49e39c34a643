"""The settings of a server: where it listens, who may call it, and how much. `holdfast.settings` loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import BaseSettings


def expanded(value: str | Path) -> Path:
    """Return a path, with a `~` at its beginning replaced by the home of the user.

    Raises:
        ValueError: the user after the `~` has no home.
    """
    try:
        return Path(value).expanduser()
    except RuntimeError as error:  # no user has the name after the ~
        raise ValueError(str(error)) from None


def expanded_if_given(value: str | Path | None) -> Path | None:
    """Return a path as `expanded` does, or `None` if there is none."""
    return None if value is None else expanded(value)


def _keys(place: str) -> str:
    if "://" in place:
        if not place.startswith("https://"):
            raise ValueError("it is no address of HTTPS. Needed: https://…, or a file")
        return place
    return str(expanded(place))


class ServerSettings(BaseSettings):
    """The settings of a server, each under the name of its environment variable."""

    host: str = Field("127.0.0.1", validation_alias="HOLDFAST_HOST", description="the address that `serve` listens on")
    port: int = Field(
        2024, ge=1, le=65535, validation_alias="HOLDFAST_PORT", description="the port that `serve` listens on"
    )
    workers: int = Field(
        10,
        ge=1,
        validation_alias="HOLDFAST_WORKERS",
        description="how many runs `serve` carries out at the same time. Not set: 100 with `--router`",
    )
    tokens: Annotated[Path | None, BeforeValidator(expanded_if_given)] = Field(
        None,
        validation_alias="HOLDFAST_TOKENS",
        description="the file of tokens for callers of the server, which `holdfast tokens add` writes",
    )
    jwt_keys: Annotated[str | None, AfterValidator(lambda place: place and _keys(place))] = Field(
        None,
        validation_alias="HOLDFAST_JWT_KEYS",
        description="the public keys of a service whose JSON Web Tokens callers have: a file in PEM or a JWKS, or the "
        "address of a JWKS",
    )
    jwt_audience: str | None = Field(
        None, validation_alias="HOLDFAST_JWT_AUDIENCE", description="the audience that such a token must name"
    )
    jwt_issuer: str | None = Field(
        None, validation_alias="HOLDFAST_JWT_ISSUER", description="the issuer that such a token must name"
    )
    jwt_roles: str = Field(
        "roles", validation_alias="HOLDFAST_JWT_ROLES", description="the claim of such a token that has the roles"
    )

    hosts: str | None = Field(
        None,
        validation_alias="HOLDFAST_HOSTS",
        description="the names by which the server is called, with commas between; `*` for any. Not set: the address "
        "that it listens on",
    )
    origins: str | None = Field(
        None,
        validation_alias="HOLDFAST_ORIGINS",
        description="the origins of web pages that may call the server, with commas between; `*` for any. Not set: its "
        "own, and on this machine those of this machine",
    )
    drain: float = Field(
        5.0,
        ge=0,
        allow_inf_nan=False,
        validation_alias="HOLDFAST_DRAIN",
        description="seconds that `serve --router` goes on listening after SIGTERM, while `/readyz` says that it stops",
    )
    max_body: int = Field(
        10 * 1024 * 1024,
        ge=1,
        validation_alias="HOLDFAST_MAX_BODY",
        description="bytes of a request to the server at the most",
    )
    max_message: int = Field(
        100_000,
        ge=1,
        validation_alias="HOLDFAST_MAX_MESSAGE",
        description="characters of a text in a message to the server at the most",
    )
    max_turns: int | None = Field(
        None,
        ge=1,
        validation_alias="HOLDFAST_MAX_TURNS",
        description="turns that a user begins in a minute at the most. Not set: 60 with access control, else no limit",
    )
    max_streams: int | None = Field(
        None,
        ge=1,
        validation_alias="HOLDFAST_MAX_STREAMS",
        description="requests of a user that wait or stream at once at the most. Not set: 20 with access control, else "
        "no limit",
    )

    logs: Literal["text", "json"] = Field(
        "text",
        validation_alias="HOLDFAST_LOGS",
        description="`json`: the server logs a line of JSON for each request, without texts; `text`: only warnings",
    )

    def server_paths(self) -> dict[str, Path | str | None]:
        """Return the settings that are paths, made absolute."""
        is_file = self.jwt_keys is not None and "://" not in self.jwt_keys
        return {
            "tokens": None if self.tokens is None else self.tokens.resolve(),
            "jwt_keys": str(Path(self.jwt_keys).resolve()) if is_file and self.jwt_keys else self.jwt_keys,
        }
