"""The settings of the command line and the server, from the environment and `.env`. No other module reads either.

A setting is looked up in the environment, then in `.env` in the working directory. An empty one counts as not set. A
test compares the table in docs/guides/command-line.md with the fields below.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import SettingsConfigDict

from holdfast.checkpoints import urls
from holdfast.checkpoints.encryption.masters import read_keys
from holdfast.checkpoints.errors import InvalidKeys
from holdfast.checkpoints.redaction import NAMES
from holdfast.graph.context import BUDGET, Mode
from holdfast.graph.models import RETRIES, TIMEOUT, check_name
from holdfast.graph.words import needed
from holdfast.server_settings import ServerSettings, expanded, expanded_if_given

OPENAI_DEFAULT = "openai:gpt-5-mini"

_PREFIX: Final = "HOLDFAST_"


class InvalidSettings(ValueError):
    """A setting cannot be used. The message names it and the values it takes, and never holds a secret."""


def _database(url: str) -> str:
    urls.parse_any(url)
    return url


def _model(name: str) -> str:
    check_name(name)
    return name


def _agent(name: str) -> str:
    module, _, variable = name.partition(":")
    if not module or not variable or module.endswith(".py"):
        raise ValueError(f"{name!r} is not module:name, such as my_package.agents:refunds")
    return name


def _pattern_names(names: str) -> str:
    found = [name.strip() for name in names.split(",")]
    if unknown := set(found).difference(NAMES):
        raise ValueError(f"There is no pattern named {min(unknown)!r}. Needed: some of {', '.join(NAMES)}")
    return ",".join(found)


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error.msg} at position {error.pos}") from None
    return text


class Settings(ServerSettings):
    """The settings, each under the name of its environment variable."""

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", env_ignore_empty=True, extra="ignore")

    database: Annotated[str, AfterValidator(_database)] = Field(
        urls.DEFAULT_URL,
        repr=False,  # it may hold a password
        validation_alias="HOLDFAST_DATABASE",
        description="where conversations live: a URL of `open_checkpointer`, or for `chat`, `serve` and `approvals "
        "--thread` of `open_saver`",
    )
    pool_size: int = Field(
        urls.POOL_SIZE,
        ge=1,
        validation_alias="HOLDFAST_POOL_SIZE",
        description="connections of a process to PostgreSQL at the most, and as many again for long-term memory",
    )
    model: Annotated[str | None, AfterValidator(lambda name: name and _model(name))] = Field(
        None,
        validation_alias="HOLDFAST_MODEL",
        description="`offline`, `openai:NAME`, or LangChain's name of another provider's, such as `anthropic:NAME`. "
        f"Not set: `{OPENAI_DEFAULT}` if there is a key, else `offline`",
    )
    agent: Annotated[str | None, AfterValidator(lambda name: name and _agent(name))] = Field(
        None,
        validation_alias="HOLDFAST_AGENT",
        description="your own agent, as `module:name`; the example shop's if not set",
    )
    keys: SecretStr | None = Field(
        None,
        validation_alias="HOLDFAST_KEYS",
        description="the master keys of an encrypted database: `id:base64`, newest first, with commas between them",
    )
    keys_file: Annotated[Path | None, BeforeValidator(expanded_if_given)] = Field(
        None, validation_alias="HOLDFAST_KEYS_FILE", description="a file with the master keys in it, one a line"
    )
    keys_database: Annotated[str | None, AfterValidator(lambda url: url and _database(url))] = Field(
        None,
        repr=False,  # it may hold a password
        validation_alias="HOLDFAST_KEYS_DATABASE",
        description="the URL of another database for the data keys of the conversations; their own if not set",
    )
    openai_api_key: SecretStr | None = Field(
        None, validation_alias="OPENAI_API_KEY", description="the key of the model's endpoint"
    )
    openai_base_url: str | None = Field(
        None,
        repr=False,  # it may hold a password
        validation_alias="OPENAI_BASE_URL",
        description="an endpoint that speaks OpenAI's protocol, up to and with its `/v1`; OpenAI's own if not set",
    )
    model_retries: int = Field(
        RETRIES,
        ge=0,
        validation_alias="HOLDFAST_MODEL_RETRIES",
        description="how often a call to the model that was refused for the moment is made again",
    )
    model_timeout: float = Field(
        TIMEOUT,
        gt=0,
        allow_inf_nan=False,
        validation_alias="HOLDFAST_MODEL_TIMEOUT",
        description="seconds that the model's endpoint may be silent for",
    )
    context: Mode = Field(
        "summarise",
        validation_alias="HOLDFAST_CONTEXT",
        description="what becomes of messages beyond the limit: `summarise`, `trim` or `off`",
    )
    context_budget: int = Field(
        BUDGET,
        gt=0,
        validation_alias="HOLDFAST_CONTEXT_BUDGET",
        description="tokens of messages that the model sees at the most",
    )
    context_limit: int | None = Field(
        None,
        validation_alias="HOLDFAST_CONTEXT_LIMIT",
        description="tokens of messages in a thread beyond which the older ones leave it; the budget if not set",
    )
    shop: Annotated[Path, BeforeValidator(expanded)] = Field(
        Path("shop.db"), validation_alias="HOLDFAST_SHOP", description="the SQLite file of the example shop"
    )
    redact: Annotated[str | None, AfterValidator(lambda names: names and _pattern_names(names))] = Field(
        None,
        validation_alias="HOLDFAST_REDACT",
        description=f"what to redact before it is stored, with commas between: {', '.join(NAMES)}",
    )
    redact_pattern: Annotated[str | None, AfterValidator(lambda text: text and _expression(text))] = Field(
        None,
        repr=False,  # it may be a secret
        validation_alias="HOLDFAST_REDACT_PATTERN",
        description="a regular expression of what to redact before it is stored, for the package `regex`",
    )
    retention: Annotated[Path | None, BeforeValidator(expanded_if_given)] = Field(
        None,
        validation_alias="HOLDFAST_RETENTION",
        description="the retention policy of `db sweep`, a TOML file. `serve` sweeps by it as well, if it is set",
    )
    retention_interval: float = Field(
        3600.0,
        gt=0,
        allow_inf_nan=False,
        validation_alias="HOLDFAST_RETENTION_INTERVAL",
        description="seconds between two sweeps of `serve`",
    )

    @field_validator("context_limit")
    @classmethod
    def _not_below_the_budget(cls, limit: int | None, info: ValidationInfo) -> int | None:
        budget = info.data.get("context_budget")  # missing if it is invalid itself
        if limit is not None and budget is not None and limit < budget:
            raise ValueError(
                f"it is {limit}, less than HOLDFAST_CONTEXT_BUDGET, which is {budget}. It has to be at least as much. "
                "Leave it out to use the budget"
            )
        return limit

    @property
    def redaction(self) -> list[str | re.Pattern[str]]:
        """The patterns that are redacted before anything is stored."""
        names: list[str | re.Pattern[str]] = [*self.redact.split(",")] if self.redact else []
        return [*names, re.compile(self.redact_pattern)] if self.redact_pattern else names

    @property
    def model_name(self) -> str:
        """The name of the model; if none is set, `OPENAI_DEFAULT` with a key and `offline` without.

        Raises:
            InvalidSettings: a key and an endpoint are set, but no model. The models of an endpoint are not known here.
        """
        if self.model:
            return self.model
        if self.openai_api_key is None:
            return "offline"
        if self.openai_base_url:
            raise InvalidSettings(
                "OPENAI_API_KEY and OPENAI_BASE_URL are set, but no model. Set HOLDFAST_MODEL=openai:NAME, or "
                "HOLDFAST_MODEL=offline to use none."
            )
        return OPENAI_DEFAULT

    def master_keys(self) -> str | list[str] | None:
        """Return the master keys of the database; `None` if it is not encrypted.

        Raises:
            InvalidSettings: they are given twice, or the file cannot be read.
        """
        if self.keys is not None and self.keys_file is not None:
            raise InvalidSettings("HOLDFAST_KEYS and HOLDFAST_KEYS_FILE are both set. Needed: one of them.")
        if self.keys_file is not None:
            try:
                return read_keys(self.keys_file)
            except InvalidKeys as error:
                raise InvalidSettings(str(error)) from None
        return None if self.keys is None else self.keys.get_secret_value()

    def in_full(self) -> Settings:
        """Return these settings with absolute paths, for a process in another folder."""
        files = {name: getattr(self, name) for name in ("shop", "retention", "keys_file")}
        resolved = {name: None if path is None else path.resolve() for name, path in files.items()}
        keys_database = None if self.keys_database is None else absolute(self.keys_database)
        paths = {"database": absolute(self.database), "keys_database": keys_database, **resolved}
        return self.model_copy(update=paths | self.server_paths())

    def environment(self) -> dict[str, str]:
        """Return the environment that gives another process the same settings. It holds secrets."""
        variables = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            variables[str(field.validation_alias)] = "" if plain is None else str(plain)
        return variables


def load(**given: Any) -> Settings:
    """Load the settings.

    Args:
        given: values that take precedence, such as the options of a command, by field name. `None` means not given.

    Raises:
        InvalidSettings: a setting cannot be used.
    """
    fields = Settings.model_fields
    options = {str(fields[name].validation_alias): value for name, value in given.items() if value is not None}
    try:
        return Settings(**options)
    except ValidationError as error:
        raise InvalidSettings("\n".join(_describe(problem, options) for problem in error.errors())) from None
    except UnicodeDecodeError:
        raise InvalidSettings("The file .env is not UTF-8. Save it in that encoding.") from None


def unknown() -> dict[str, str | None]:
    """Return the variables that are named as if they were settings and are none, each with the setting that is like it.

    A mistyped name would otherwise be a setting that is silently not set.
    """
    known = [str(field.validation_alias) for field in Settings.model_fields.values()]
    try:
        in_file = dotenv_values(".env")
    except UnicodeDecodeError:  # `load` says so
        in_file = {}
    named = {name.upper() for name in (*os.environ, *in_file) if name.upper().startswith(_PREFIX)}
    ends = [name.removeprefix(_PREFIX) for name in known if name.startswith(_PREFIX)]  # the beginning makes all alike
    found: dict[str, str | None] = {}
    for name in sorted(named.difference(known)):
        like = get_close_matches(name.removeprefix(_PREFIX), ends, 1)
        found[name] = _PREFIX + like[0] if like else None
    return found


def state_folder() -> Path:
    """Return the folder of this user for what Holdfast keeps between commands, after the rules of XDG."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".local" / "state") / "holdfast"


def absolute(url: str) -> str:
    """Return the URL of a database, with the path of a SQLite file made absolute.

    Raises:
        InvalidURL: it is not the URL of a database.
    """
    match urls.parse_any(url):
        case urls.SqliteURL(path=path):
            options = url.partition("?")[2]
            return f"sqlite:///{quote(str(path.resolve()))}{'?' if options else ''}{options}"
        case urls.MemoryURL() | urls.PostgresURL() | urls.OtherURL():
            return url


def _describe(problem: Any, options: dict[str, Any]) -> str:
    # Without the value, which may be a password in the wrong variable.
    name = str(problem["loc"][0]) if problem["loc"] else "a setting"
    fields = {str(field.validation_alias): (key, field) for key, field in Settings.model_fields.items()}
    key, field = fields.get(name, (name, None))
    words = needed(problem)
    what = f"it has to be {words}" if words else str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
    meaning = f" It is {field.description}." if field is not None and problem["type"] != "value_error" else ""
    called = f"--{key.replace('_', '-')}" if name in options else name
    return f"{called} cannot be used: {what}.{meaning}"
