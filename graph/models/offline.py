"""A chat model that needs no key and no network: a table of rules that knows the shop's tools, and says so."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCall, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from holdfast.graph.context.summary import SUMMARISE
from holdfast.graph.models.notes import NAME, NUMBER, noted, summarise

WHAT_I_AM = "(Offline stand-in: simple rules, not a language model.)"
NOT_UNDERSTOOD = (
    "I did not understand that. I am a rule-based stand-in, not a language model. You can ask me to look up order "
    "1001, to list a customer's orders, to refund an order, to send a mail to someone@example.org saying something, "
    "or what your name is and what you asked first."
)


@dataclass(frozen=True)
class Step:
    """One tool call of a request. It is made only if the result of the step before it contains `after`."""

    tool: str
    args: dict[str, Any]
    after: str = ""


Request: TypeAlias = list[Step]


@dataclass(frozen=True)
class Notes:
    """What the conversation says, as far as the rules can read it."""

    said: list[str]  # by the user, oldest first

    @property
    def name(self) -> str | None:
        names = [match[1] or match[2] for text in self.said for match in NAME.finditer(text)]
        return names[-1] if names else None

    @property
    def comma_name(self) -> str:
        return f", {self.name}" if self.name else ""


# A message holds several requests where a sentence ends, or where a comma or "and" is followed by another verb.
_CLAUSES = re.compile(
    r"(?i)(?<=[.!?;])\s+|\n+|(?:,|,?\s+and|,?\s+then)\s+(?=(?:then|please|send|write|mail|list|show|look|find|refund)\b)"
)


# --- what asks for tools: a pattern, and the requests that a clause makes ---


def _refunds(clause: re.Match[str], _: Notes) -> list[Request]:
    orders = [int(number) for number in NUMBER.findall(clause.string)]
    return [
        [Step("find_order", {"order_id": n}), Step("refund_order", {"order_id": n}, after="not refunded")]
        for n in orders
    ]


def _mail(clause: re.Match[str], _: Notes) -> list[Request]:
    body = (clause["body"] or "Hello").strip()
    subject = body if len(body) <= 40 else body[:37].rstrip() + "..."
    return [[Step("send_mail", {"to": clause["to"].rstrip(".,;:"), "subject": subject, "body": body})]]


def _listing(clause: re.Match[str], memory: Notes) -> list[Request]:
    customer = clause["customer"] or clause["owner"] or memory.name
    return [[Step("list_orders", {"customer": customer})]] if customer else []


def _look_ups(clause: re.Match[str], _: Notes) -> list[Request]:
    return [[Step("find_order", {"order_id": int(number)})] for number in NUMBER.findall(clause.string)]


TOOL_RULES: list[tuple[re.Pattern[str], Callable[[re.Match[str], Notes], list[Request]], str]] = [
    # pattern, what it asks for, and what to say if that cannot be told from the clause
    (
        re.compile(r"(?is)\be?-?mail\b.*?\bto\s+(?P<to>\S+@[\w.-]+)(?:.*?(?:\bsaying|\bthat says|:)\s*(?P<body>.+))?"),
        _mail,
        "To whom? Give me a mail address.",
    ),
    (re.compile(r"(?i)\brefund"), _refunds, "Which order is to be refunded? Tell me its number."),
    (
        re.compile(
            r"\b(?i:list|show|which|what|see)\b.*?(?:\b(?P<owner>[A-Z]\w+)'s\s+)?\borders\b(?:\s+(?:of|for|from)\s+(?P<customer>[A-Z]\w+))?"
        ),
        _listing,
        "Whose orders? Tell me your name.",
    ),
    (re.compile(r"(?i)\border\b.*\d{3,}"), _look_ups, "Which order? Tell me its number."),
]


# --- what is answered from the conversation itself ---

TALK_RULES: list[tuple[re.Pattern[str], Callable[[Notes], str]]] = [
    (
        re.compile(r"(?i)\bwhat(?:'s| is) my name|\bwho am i\b|\b(?:know|remember) my name"),
        lambda memory: f"Your name is {memory.name}." if memory.name else "You have not told me your name.",
    ),
    (
        re.compile(r"(?i)\bwhat\b.*\b(?:did|was)\b.*\bfirst\b"),
        lambda memory: f'The first thing you wrote was: "{memory.said[0]}"',
    ),
    (
        re.compile(r"(?i)\bwhat\b.*\bdid i\b.*\b(?:say|ask|write|tell)\b"),
        lambda memory: (
            f'Before this you wrote: "{memory.said[-2]}"' if len(memory.said) > 1 else "Nothing before this."
        ),
    ),
    (re.compile(r"(?i)\bthank"), lambda memory: f"You are welcome{memory.comma_name}."),
    (
        re.compile(r"(?i)^\s*(?:hello|hi|hey|good (?:morning|evening|day))\b"),
        lambda memory: f"Hello{memory.comma_name}.",
    ),
    (NAME, lambda memory: f"Hello{memory.comma_name}. What can I do for you?"),
]


class OfflineModel(BaseChatModel):
    """A rule-based stand-in for a chat model: no key, no network, the same answer every time.

    It calls the tools of the example shop if they are bound to it, and answers from the messages it is given.
    """

    @property
    def _llm_type(self) -> str:
        return "offline"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the rules use the tools that they know. They choose by themselves: `tool_choice` is not used."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=reply(messages, _names(kwargs)))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        whole = reply(messages, _names(kwargs))
        for word in re.findall(r"\S+\s*", str(whole.content)):
            yield _chunk(run_manager, AIMessageChunk(content=word))
        calls = [
            tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=index)
            for index, call in enumerate(whole.tool_calls)
        ]
        last = AIMessageChunk(
            content="",
            tool_call_chunks=calls,
            response_metadata=whole.response_metadata,
            usage_metadata=whole.usage_metadata,
            chunk_position="last",
        )
        yield _chunk(run_manager, last)


def reply(messages: Sequence[BaseMessage], tools: set[str]) -> AIMessage:
    """What the rules answer to a conversation when these tools are bound."""
    if messages and messages[0].text == SUMMARISE:
        return _answer(messages, summarise(messages[-1].text))
    remembered = [line for message in messages if isinstance(message, SystemMessage) for line in noted(message.text)]
    memory = Notes(remembered + [message.text for message in messages if isinstance(message, HumanMessage)])
    turn = _this_turn(messages)
    requests, questions = _requests(memory, tools)
    steps = [step for request in requests if (step := _next_step(request, turn)) is not None]
    if steps:
        text = " ".join(dict.fromkeys(_announce(step) for step in steps))
    else:
        text = "\n".join([*_report(requests, turn), *questions]) or _talk(memory)
    if not remembered and not any(isinstance(message, AIMessage) for message in messages):
        text = f"{WHAT_I_AM} {text}"
    calls = [
        ToolCall(name=s.tool, args=s.args, id=f"call_{len(messages)}_{i}", type="tool_call")
        for i, s in enumerate(steps)
    ]
    return _answer(messages, text, calls)


def _answer(messages: Sequence[BaseMessage], text: str, calls: Sequence[ToolCall] = ()) -> AIMessage:
    return AIMessage(
        text,
        tool_calls=list(calls),
        response_metadata={"model_name": "offline"},
        usage_metadata=_usage(messages, text),
    )


def _requests(memory: Notes, tools: set[str]) -> tuple[list[Request], list[str]]:
    """What the last message asks for with these tools, and what has to be asked back."""
    requests: list[Request] = []
    questions: list[str] = []
    for clause in _CLAUSES.split(memory.said[-1]) if memory.said else []:
        for pattern, read, question in TOOL_RULES:
            if match := pattern.search(clause):
                found = [request for request in read(match, memory) if all(step.tool in tools for step in request)]
                requests += [request for request in found if request not in requests]
                if not read(match, memory):
                    questions.append(question)
                break
    return requests, questions


def _this_turn(messages: Sequence[BaseMessage]) -> list[tuple[ToolCall, ToolMessage]]:
    """The calls since the user's last message, each with its answer."""
    since = max((i for i, message in enumerate(messages) if isinstance(message, HumanMessage)), default=-1)
    answers = {m.tool_call_id: m for m in messages[since + 1 :] if isinstance(m, ToolMessage)}
    calls = [call for m in messages[since + 1 :] if isinstance(m, AIMessage) for call in m.tool_calls]
    return [(call, answers[call["id"] or ""]) for call in calls if call["id"] in answers]


def _result(step: Step, turn: list[tuple[ToolCall, ToolMessage]]) -> ToolMessage | None:
    return next((answer for call, answer in turn if (call["name"], call["args"]) == (step.tool, step.args)), None)


def _next_step(request: Request, turn: list[tuple[ToolCall, ToolMessage]]) -> Step | None:
    """The first step without a result; None once the request is through or a step did not give what the next needs."""
    before: ToolMessage | None = None
    for step in request:
        result = _result(step, turn)
        if result is None:
            goes_on = before is None or (before.status == "success" and step.after in before.text)
            return step if goes_on else None
        before = result
    return None


def _report(requests: list[Request], turn: list[tuple[ToolCall, ToolMessage]]) -> list[str]:
    """What came of each request: the result of the last step that was made."""
    lines = []
    for request in requests:
        results = [result for step in request if (result := _result(step, turn))]
        if results:
            # What follows is meant for a model that might insist.
            lines.append(results[-1].text.split(" Do not make it again")[0])
    return lines


def _talk(memory: Notes) -> str:
    said = memory.said[-1] if memory.said else ""
    return next((answer(memory) for pattern, answer in TALK_RULES if pattern.search(said)), NOT_UNDERSTOOD)


_ANNOUNCEMENTS = {
    "find_order": "I look up order {order_id}.",
    "list_orders": "I look up the orders of {customer}.",
    "refund_order": "I ask for the refund of order {order_id}.",
    "send_mail": "I ask to send the mail to {to}.",
}


def _announce(step: Step) -> str:
    return _ANNOUNCEMENTS[step.tool].format_map(step.args)


def _usage(messages: Sequence[BaseMessage], text: str) -> UsageMetadata:
    # In words: there is no tokenizer here, and the order of magnitude is right.
    before, after = sum(len(message.text.split()) for message in messages), len(text.split())
    return UsageMetadata(input_tokens=before, output_tokens=after, total_tokens=before + after)


def _names(kwargs: dict[str, Any]) -> set[str]:
    return {tool["function"]["name"] for tool in kwargs.get("tools", [])}


def _chunk(run_manager: CallbackManagerForLLMRun | None, message: AIMessageChunk) -> ChatGenerationChunk:
    chunk = ChatGenerationChunk(message=message)
    if run_manager and message.content:
        run_manager.on_llm_new_token(str(message.content), chunk=chunk)
    return chunk
