"""Chat models by name."""

from langchain_core.language_models import BaseChatModel

from holdfast.graph.models.offline import OfflineModel

OFFLINE = "offline"

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
        name: `offline` (rule-based, needs no key, and says so in the first answer of a thread) or `openai:NAME` with
            the endpoint's NAME of the model. None is `offline`, so that nothing is sent anywhere unless it is named.
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
    model = check_name(name or OFFLINE)
    if not model:
        return OfflineModel()
    try:
        from holdfast.graph.models.openai import endpoint_model
    except ModuleNotFoundError as error:
        raise ImportError(
            f"The model {name!r} needs langchain-openai; there is no module {error.name!r} here. "
            "Install it with: pip install 'holdfast[openai]'"
        ) from None
    return endpoint_model(model, api_key=api_key, base_url=base_url, retries=retries, timeout=timeout)


def check_name(name: str) -> str:
    """Return the endpoint's name of a model; empty for the offline model.

    Raises:
        ValueError: the name is unknown.
    """
    kind, _, model = name.partition(":")
    if kind == "openai" and model:
        return model
    if name == OFFLINE:
        return ""
    raise ValueError(
        f"There is no chat model {name!r}. Known are 'offline' (rule-based, needs no key) and 'openai:NAME' (any "
        "endpoint that speaks OpenAI's protocol); any other LangChain chat model can be passed as an object."
    )
