"""Chat models of other providers, by the names that LangChain gives them."""

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel


def provider_model(provider: str, model: str, *, retries: int, timeout: float) -> BaseChatModel:
    """Make the chat model of a provider. Its client reads the key from the environment.

    Raises:
        ValueError: LangChain does not know the provider, or its key is missing.
        ImportError: the provider's package is not installed.
    """
    try:
        made: BaseChatModel = init_chat_model(model, model_provider=provider, max_retries=retries, timeout=timeout)
    except ValueError as error:
        first, *_ = str(error).splitlines()
        raise ValueError(f"There is no chat model '{provider}:{model}': {first}") from error
    return made
