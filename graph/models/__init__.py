"""Chat models by name. What makes one is imported when it is made, so that a name can be checked at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

OFFLINE = "offline"
OPENAI = "openai"

# The default of OpenAI's client, which waits between attempts, from half a second up, or for as long as the endpoint
# asks for.
RETRIES = 2
# Seconds without a byte. A reasoning model can be silent for a minute before its first word; an endpoint that is silent
# for longer than this is gone.
TIMEOUT = 120.0


def chat_model(
    name: str | None = None,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    retries: int = RETRIES,
    timeout: float = TIMEOUT,
) -> BaseChatModel:
    """Make the chat model of a name.

    Args:
        name: `offline` (rule-based, needs no key, and says so in the first answer of a thread); `openai:NAME` with the
            endpoint's NAME of the model; or LangChain's name of another provider's, such as `anthropic:NAME`, whose
            client reads its key from the environment. None is `offline`, so that nothing is sent anywhere unless it is
            named.
        api_key: the key of the endpoint; by default the client reads OPENAI_API_KEY.
        base_url: an endpoint that speaks OpenAI's protocol, up to and with its `/v1`; by default the client reads
            OPENAI_BASE_URL, and without that it is OpenAI's own.
        retries: how often a call is repeated that was refused for the moment (429, 5xx) or could not connect.
        timeout: seconds for which the endpoint may be silent, at each attempt.

    Raises:
        ValueError: the name is unknown, or the model cannot be made with these arguments.
        ImportError: a package that the model needs is not installed.
    """
    if name is None and api_key:
        raise ValueError("An API key was given and no model; say which, such as 'openai:NAME'.")
    provider, model = check_name(name or OFFLINE)
    if provider == OFFLINE:
        from holdfast.graph.models.offline import OfflineModel

        return OfflineModel()
    if provider != OPENAI:
        return _provider_model(provider, model, retries=retries, timeout=timeout)
    try:
        from holdfast.graph.models.openai import endpoint_model
    except ModuleNotFoundError as error:
        from holdfast.checkpoints.extras import install_command

        raise ImportError(
            f"The model {name!r} needs langchain-openai; there is no module {error.name!r} here. "
            f"Install it: {install_command('openai')}"
        ) from None
    return endpoint_model(model, api_key=api_key, base_url=base_url, retries=retries, timeout=timeout)


def check_name(name: str) -> tuple[str, str]:
    """Return the provider in a model's name, and the provider's name of the model, which is empty for `offline`.

    Raises:
        ValueError: it is not the name of a model.
    """
    provider, _, model = name.partition(":")
    if name == OFFLINE or (provider.isidentifier() and provider != OFFLINE and model):
        return provider, model
    raise ValueError(
        f"There is no chat model {name!r}. Known are 'offline' (rule-based, needs no key), 'openai:NAME' (any endpoint "
        "that speaks OpenAI's protocol) and LangChain's names, such as 'anthropic:NAME'; any other LangChain chat "
        "model can be passed as an object."
    )


def _provider_model(provider: str, model: str, *, retries: int, timeout: float) -> BaseChatModel:
    try:
        from holdfast.graph.models.langchain import provider_model
    except ModuleNotFoundError as error:
        from holdfast.checkpoints.extras import install_command

        raise ImportError(
            f"The model '{provider}:{model}' needs LangChain; there is no module {error.name!r} here. Install it, "
            f"and with it the package of the provider: {install_command('langchain')}"
        ) from None
    return provider_model(provider, model, retries=retries, timeout=timeout)
