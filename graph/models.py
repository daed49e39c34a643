"""A name to a chat model."""

from langchain_core.language_models import BaseChatModel

from graph.offline import OfflineModel


def chat_model(name: str) -> BaseChatModel:
    """The chat model of this name.

    Raises:
        ValueError: no model of this name is known.
    """
    if name == "offline":
        return OfflineModel()
    raise ValueError(
        f"There is no chat model {name!r}. Known is 'offline' (rule-based, needs no key); "
        "any other LangChain chat model can be passed as an object."
    )
