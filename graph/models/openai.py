"""A chat model behind an endpoint that speaks OpenAI's protocol: LangChain's client, made safe to keep in a thread.

It differs from `ChatOpenAI` in these points:

- A failure is one line that names the endpoint, as one of LangChain's own `ModelError`s, without the key. LangGraph
  saves a task's error in the thread, and some endpoints quote the key that they refuse.
- An answer that stops halfway is a failure. A connection that just ends looks like the end of the answer.
- The arguments of a streamed call are read as they came. LangChain completes JSON that stops halfway, and so makes a
  refund of order 100 out of one of order 1001.
- One model serves any number of event loops. The client keeps connections open, and they die with their loop.
- A call that the model wrote badly can be sent back to it. Endpoints refuse a history with such a call, so the thread
  could not go on.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NoReturn
from urllib.parse import urlsplit

import openai
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, InvalidToolCall, ToolCall, ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

# The characters of an endpoint's own words about a failure that are passed on: a sentence, not a page of HTML.
_LONGEST_DETAIL = 300

# No connection outlives its call: the event loop may end after it, and another loop would get a dead connection.
_PER_LOOP: dict[str, Any] = {"extra_headers": {"Connection": "close"}}

# Causes, the errors that they become, and the words for them. The first that fits counts: a timeout is a failed
# connection too.
_FAILURES: list[tuple[type[Exception], type[ModelError], str]] = [
    (ModelAuthenticationError, ModelAuthenticationError, "does not accept the API key"),
    (ModelPermissionDeniedError, ModelPermissionDeniedError, "does not allow this with this API key"),
    (ModelNotFoundError, ModelNotFoundError, "does not know this model or address"),
    (ModelRateLimitError, ModelRateLimitError, "takes no more requests for now"),
    (ContextOverflowError, ContextOverflowError, "cannot take a conversation of this length"),
    (ModelTimeoutError, ModelTimeoutError, "did not answer in time"),
    (TimeoutError, ModelTimeoutError, "did not answer in time"),
    (ModelConnectionError, ModelConnectionError, "could not be reached, or broke the connection off"),
    (ModelAPIError, ModelAPIError, "failed"),
    (openai.APIStatusError, ModelInvalidRequestError, "refused the request"),
    (openai.APIError, ModelAPIError, "failed"),
    (Exception, ModelAPIError, "gave an answer that cannot be used"),
]


class EndpointModel(ChatOpenAI):
    """`ChatOpenAI` with the differences above."""

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        try:
            return _with_choice(super()._generate(_sendable(messages), stop, run_manager, **kwargs))
        except Exception as error:  # noqa: BLE001 - whatever an endpoint sends becomes one kind of error
            self._fail(error)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        try:
            kwargs = _PER_LOOP | kwargs
            return _with_choice(await super()._agenerate(_sendable(messages), stop, run_manager, **kwargs))
        except Exception as error:  # noqa: BLE001 - see above
            self._fail(error)

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        answer = _Answer()
        try:
            for chunk in super()._stream(_sendable(messages), *args, **kwargs):
                yield answer.take(chunk)
            yield answer.calls()
        except Exception as error:  # noqa: BLE001 - see above
            self._fail(error)

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        answer = _Answer()
        try:
            async for chunk in super()._astream(_sendable(messages), *args, **(_PER_LOOP | kwargs)):
                yield answer.take(chunk)
            yield answer.calls()
        except Exception as error:  # noqa: BLE001 - see above
            self._fail(error)

    def _fail(self, error: Exception) -> NoReturn:
        key = self.openai_api_key
        secret = key.get_secret_value() if isinstance(key, SecretStr) else ""
        # Without its cause, whose own text may hold the key.
        raise failure(error, str(self.root_async_client.base_url), self.model_name, secret) from None


def endpoint_model(
    name: str, *, api_key: str | None, base_url: str | None, retries: int, timeout: float
) -> EndpointModel:
    """Make the model of this name at an endpoint. An argument that is None is read from the environment.

    Raises:
        ValueError: the key is missing or cannot be sent, or the base URL is invalid.
    """
    if base_url:
        _check_base_url(base_url)
    try:
        model = EndpointModel(
            model=name,
            api_key=SecretStr(api_key) if api_key else None,
            base_url=base_url or None,
            max_retries=retries,
            timeout=timeout,
        )
    except openai.OpenAIError:
        raise ValueError(
            f"The model 'openai:{name}' needs an API key and there is none. Set OPENAI_API_KEY; an endpoint that needs "
            "no key takes any word. Or use the model 'offline'."
        ) from None
    key = model.openai_api_key
    secret = key.get_secret_value() if isinstance(key, SecretStr) else ""
    if stripped := secret.strip() if secret != secret.strip() else "":
        # A key that was read from a file often ends with a line break.
        return endpoint_model(name, api_key=stripped, base_url=base_url, retries=retries, timeout=timeout)
    if not (secret.isascii() and secret.isprintable()):
        # The client could not send it, and would quote it in its error.
        raise ValueError(
            "The API key holds a character that cannot be sent, such as a line break or a letter outside of ASCII. Set "
            "OPENAI_API_KEY to a key of printable ASCII characters."
        )
    return model


def failure(error: Exception, url: str, model: str, secret: str) -> ModelError:
    """Return the error that callers see. It says in one line what happened at which endpoint, without the key."""
    kind, words = next((kind, words) for cause, kind, words in _FAILURES if isinstance(error, cause))
    status = f" ({error.status_code})" if isinstance(error, openai.APIStatusError) else ""
    address = urlsplit(url)
    # The host only: the path, the query and the user of an address may be secret too.
    place = f"{address.hostname}:{address.port}" if address.port else address.hostname
    return kind(f"The model endpoint {place} (model {model!r}) {words}{status}: {_detail(error, secret)}")


def _detail(error: Exception, secret: str) -> str:
    # Removed before the text is shortened, which could leave half a key.
    text = _text(error)
    for form in filter(None, (secret, repr(secret)[1:-1])):  # some clients quote a key that they could not send
        text = text.replace(form, "***")
    shown = " ".join(text.split())
    return shown if len(shown) <= _LONGEST_DETAIL else f"{shown[:_LONGEST_DETAIL]} ..."


def _text(error: BaseException) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    if isinstance(error, openai.APIConnectionError) and error.__cause__ is not None:
        return _text(error.__cause__)  # the cause says more than "Connection error."
    return str(error) or type(error).__name__


def _check_base_url(base_url: str) -> None:
    try:
        address = urlsplit(base_url)
        usable = address.scheme in ("http", "https") and address.hostname and address.port != 0
        usable = usable and not (address.username or address.password)
    except ValueError:  # for its port, or for an address in brackets
        usable = False
    if not usable:
        # The URL is not shown: it may hold a password.
        raise ValueError(
            "The base URL of a model endpoint is http:// or https://, a host, and most often /v1, without a user or a "
            "password, such as http://localhost:11434/v1. The one given has another form. See OPENAI_BASE_URL."
        )


# --- answers


class _Answer:
    """A streamed answer. Text passes at once, calls are held back until they are complete."""

    def __init__(self) -> None:
        self._begun = self._ended = False
        self._held = AIMessageChunk(content="")

    def take(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """Return the chunk without the pieces of calls in it."""
        message = chunk.message
        if (chunk.generation_info or {}).get("finish_reason"):
            self._ended = True
        if isinstance(message, AIMessageChunk):
            self._begun = self._begun or bool(message.content or message.tool_call_chunks)
            # The Responses API marks the end by this.
            self._ended = self._ended or message.chunk_position == "last"
            if pieces := message.tool_call_chunks:
                self._held = self._held + AIMessageChunk(content="", tool_call_chunks=pieces)
                bare: dict[str, Any] = {"tool_call_chunks": [], "tool_calls": [], "invalid_tool_calls": []}
                return ChatGenerationChunk(
                    message=message.model_copy(update=bare), generation_info=chunk.generation_info
                )
        return chunk

    def calls(self) -> ChatGenerationChunk:
        """Return a chunk with the calls, after the last chunk of the answer.

        Raises:
            ValueError: the answer is incomplete.
        """
        if not self._ended:
            raise ValueError("it stopped before its end" if self._begun else "it is not a stream with an answer in it")
        pieces = [
            # LangChain completes any invalid JSON but a JSON string, which it takes for invalid arguments.
            piece
            if _is_object(piece["args"] or "{}")
            else ToolCallChunk(**{**piece, "args": json.dumps(piece["args"])})
            for piece in self._held.tool_call_chunks
        ]
        return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=pieces))


def _with_choice(result: ChatResult) -> ChatResult:
    if not result.generations:
        raise ValueError("there is no choice in it")
    return result


# --- requests


def _sendable(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the messages with each call in a form that endpoints accept: a name of their alphabet, a JSON object."""
    return [_with_sendable_calls(message) if isinstance(message, AIMessage) else message for message in messages]


def _with_sendable_calls(message: AIMessage) -> AIMessage:
    calls = [ToolCall(**{**call, "name": _name(call["name"])}) for call in message.tool_calls]
    invalid = [
        InvalidToolCall(
            **{**call, "name": _name(call["name"] or ""), "args": json.dumps({"not_valid_json": call["args"]})}
        )
        for call in message.invalid_tool_calls
    ]
    if calls == message.tool_calls and not invalid:
        return message
    return message.model_copy(update={"tool_calls": calls, "invalid_tool_calls": invalid})


def _name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:64] or "unnamed"


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, strict=False), dict)
    except ValueError:
        return False
