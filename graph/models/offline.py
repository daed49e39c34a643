"""A chat model that needs no key and no network: a table of rules for the shop's tools. It says that it is no model."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from xml.sax.saxutils import unescape

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCall, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from holdfast.graph.context.summary import SUMMARISE, without_middle
from holdfast.graph.kept import told_in

WHAT_I_AM = "(Offline stand-in: simple rules, not a language model.)"
NOT_UNDERSTOOD = (
    "I did not understand that. I am a rule-based stand-in, not a language model. You can ask me to look up order "
    "1001, to list a customer's orders, to refund an order, to send a mail to someone@example.org saying something, "
    "or what your name is and what you asked first."
)

_NAME = re.compile(
    r"(?:(?i:\bmy name is|\bcall me)\s+([^\W\d_][\w'-]*))|(?:(?i:\bI am|\bI'm|\bthis is)\s+([A-Z][\w'-]+))"
)
_NUMBER = re.compile(r"\b\d{3,}\b")


@dataclass(frozen=True)
class PlannedCall:
    """One tool call of a task. It is made only if the result of the call before it contains `after`."""

    tool: str
    args: dict[str, Any]
    after: str = ""


Task: TypeAlias = list[PlannedCall]
"""The calls, in their order, for one thing that the user asks for."""


@dataclass(frozen=True)
class Notes:
    """The user's messages, and what the rules can read in them."""

    messages: list[str]
    """Oldest first."""

    @property
    def name(self) -> str | None:
        names = [match[1] or match[2] for text in self.messages for match in _NAME.finditer(text)]
        return names[-1] if names else None

    @property
    def comma_name(self) -> str:
        return f", {self.name}" if self.name else ""


# A message holds several tasks where a sentence ends, or where a comma or "and" is followed by another verb.
_CLAUSES = re.compile(
    r"(?i)(?<=[.!?;])\s+|\n+|(?:,|,?\s+and|,?\s+then)\s+(?=(?:then|please|send|write|mail|list|show|look|find|refund)\b)"
)


# --- clauses that ask for tools: a pattern, and the tasks of a clause that matches


def _refunds(clause: re.Match[str], _: Notes) -> list[Task]:
    orders = [int(number) for number in _NUMBER.findall(clause.string)]
    return [
        [PlannedCall("find_order", {"order_id": n}), PlannedCall("refund_order", {"order_id": n}, after="not refunded")]
        for n in orders
    ]


def _mail(clause: re.Match[str], _: Notes) -> list[Task]:
    body = (clause["body"] or "Hello").strip()
    subject = body if len(body) <= 40 else body[:37].rstrip() + "..."
    return [[PlannedCall("send_mail", {"to": clause["to"].rstrip(".,;:"), "subject": subject, "body": body})]]


def _listing(clause: re.Match[str], notes: Notes) -> list[Task]:
    customer = clause["customer"] or clause["owner"] or notes.name
    return [[PlannedCall("list_orders", {"customer": customer})]] if customer else []


def _look_ups(clause: re.Match[str], _: Notes) -> list[Task]:
    return [[PlannedCall("find_order", {"order_id": int(number)})] for number in _NUMBER.findall(clause.string)]


_TOOL_RULES: list[tuple[re.Pattern[str], Callable[[re.Match[str], Notes], list[Task]], str]] = [
    # the pattern, the tasks, and the question to the user if the clause has none
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


# --- clauses that are answered from the conversation itself

_TALK_RULES: list[tuple[re.Pattern[str], Callable[[Notes], str]]] = [
    (
        re.compile(r"(?i)\bwhat(?:'s| is) my name|\bwho am i\b|\b(?:know|remember) my name"),
        lambda notes: f"Your name is {notes.name}." if notes.name else "You have not told me your name.",
    ),
    (
        re.compile(r"(?i)\bwhat\b.*\b(?:did|was)\b.*\bfirst\b"),
        lambda notes: f'The first thing you wrote was: "{notes.messages[0]}"',
    ),
    (
        re.compile(r"(?i)\bwhat\b.*\bdid i\b.*\b(?:say|ask|write|tell)\b"),
        lambda notes: (
            f'Before this you wrote: "{notes.messages[-2]}"' if len(notes.messages) > 1 else "Nothing before this."
        ),
    ),
    (re.compile(r"(?i)\bthank"), lambda notes: f"You are welcome{notes.comma_name}."),
    (
        re.compile(r"(?i)^\s*(?:hello|hi|hey|good (?:morning|evening|day))\b"),
        lambda notes: f"Hello{notes.comma_name}.",
    ),
    (_NAME, lambda notes: f"Hello{notes.comma_name}. What can I do for you?"),
]


class OfflineModel(BaseChatModel):
    """A rule-based stand-in for a chat model: no key, no network, the same answer every time.

    It calls the tools of the example shop if they are bound, and answers other messages from the conversation.
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
        """Allow the rules to call those of the tools that they know. `tool_choice` is ignored."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=answer_by_rules(messages, _names(kwargs)))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        whole = answer_by_rules(messages, _names(kwargs))
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


def answer_by_rules(messages: Sequence[BaseMessage], tools: set[str]) -> AIMessage:
    """Return the answer of the rules to a conversation.

    Args:
        messages: the conversation.
        tools: the names of the bound tools.
    """
    if messages and messages[0].text == SUMMARISE:
        return _answer(messages, summarise(messages[-1].text))
    if messages and (told := told_in(messages[-1])):
        return _answer(messages, "\n".join(map(_without_insistence, told)))
    noted = [line for message in messages if isinstance(message, SystemMessage) for line in read_notes(message.text)]
    notes = Notes(noted + [message.text for message in messages if isinstance(message, HumanMessage)])
    turn = _this_turn(messages)
    tasks, questions = _tasks(notes, tools)
    calls = [call for task in tasks if (call := _next_call(task, turn)) is not None]
    if calls:
        text = " ".join(dict.fromkeys(_announce(call) for call in calls))
    else:
        text = "\n".join([*_report(tasks, turn), *questions]) or _talk(notes)
    if not noted and not any(isinstance(message, AIMessage) for message in messages):
        text = f"{WHAT_I_AM} {text}"
    tool_calls = [
        ToolCall(name=call.tool, args=call.args, id=f"call_{len(messages)}_{i}", type="tool_call")
        for i, call in enumerate(calls)
    ]
    return _answer(messages, text, tool_calls)


def _answer(messages: Sequence[BaseMessage], text: str, tool_calls: Sequence[ToolCall] = ()) -> AIMessage:
    return AIMessage(
        text,
        tool_calls=list(tool_calls),
        response_metadata={"model_name": "offline"},
        usage_metadata=_usage(messages, text),
    )


def _tasks(notes: Notes, tools: set[str]) -> tuple[list[Task], list[str]]:
    """Return the tasks of the last message that the tools can do, and the questions that it leaves open."""
    tasks: list[Task] = []
    questions: list[str] = []
    for clause in _CLAUSES.split(notes.messages[-1]) if notes.messages else []:
        for pattern, read, question in _TOOL_RULES:
            if match := pattern.search(clause):
                possible = [task for task in read(match, notes) if all(call.tool in tools for call in task)]
                tasks += [task for task in possible if task not in tasks]
                if not read(match, notes):
                    questions.append(question)
                break
    return tasks, questions


def _this_turn(messages: Sequence[BaseMessage]) -> list[tuple[ToolCall, ToolMessage]]:
    """Return the calls since the user's last message, each with its answer."""
    since = max((i for i, message in enumerate(messages) if isinstance(message, HumanMessage)), default=-1)
    answers = {m.tool_call_id: m for m in messages[since + 1 :] if isinstance(m, ToolMessage)}
    calls = [call for m in messages[since + 1 :] if isinstance(m, AIMessage) for call in m.tool_calls]
    return [(call, answers[call["id"] or ""]) for call in calls if call["id"] in answers]


def _result(planned: PlannedCall, turn: list[tuple[ToolCall, ToolMessage]]) -> ToolMessage | None:
    return next((answer for call, answer in turn if (call["name"], call["args"]) == (planned.tool, planned.args)), None)


def _next_call(task: Task, turn: list[tuple[ToolCall, ToolMessage]]) -> PlannedCall | None:
    """Return the first call without a result. None if the task is done, or a result does not allow the next call."""
    before: ToolMessage | None = None
    for planned in task:
        result = _result(planned, turn)
        if result is None:
            goes_on = before is None or (before.status == "success" and planned.after in before.text)
            return planned if goes_on else None
        before = result
    return None


def _report(tasks: list[Task], turn: list[tuple[ToolCall, ToolMessage]]) -> list[str]:
    """Return the outcome of each task: the result of the last call that was made."""
    lines = []
    for task in tasks:
        results = [result for planned in task if (result := _result(planned, turn))]
        if results:
            lines.append(_without_insistence(results[-1].text))
    return lines


def _without_insistence(text: str) -> str:
    return text.partition(" Do not make it again")[0]


def _talk(notes: Notes) -> str:
    last = notes.messages[-1] if notes.messages else ""
    return next((answer(notes) for pattern, answer in _TALK_RULES if pattern.search(last)), NOT_UNDERSTOOD)


_ANNOUNCEMENTS = {
    "find_order": "I look up order {order_id}.",
    "list_orders": "I look up the orders of {customer}.",
    "refund_order": "I ask for the refund of order {order_id}.",
    "send_mail": "I ask to send the mail to {to}.",
}


def _announce(call: PlannedCall) -> str:
    return _ANNOUNCEMENTS[call.tool].format_map(call.args)


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


# --- summaries

# Databases hold summaries that begin with this line, and `read_notes` finds them by it. It does not change.
_NOTES_HEADER: Final = "(Offline stand-in: not a summary, but some of what the user wrote.)"

_HUMAN_MESSAGE = re.compile(r'(?s)<message type="human">(.*?)</message>')

# How many of the messages that name an order are noted, and how many characters of each.
_MOST_ORDERS, _LONGEST_NOTE = 10, 200


def summarise(request: str) -> str:
    """Write notes: the user's first and last message, the last one with their name, and those that name orders.

    Args:
        request: the notes so far and the conversation since, as `summary_request` in `context.summary` writes them.
    """
    earlier, _, conversation = request.rpartition("<conversation>")
    texts = [unescape(line) for line in read_notes(earlier)]
    texts += [unescape(text) for text in _HUMAN_MESSAGE.findall(conversation)]
    lines = [without_middle(" ".join(text.split()), _LONGEST_NOTE) for text in texts]
    positions = range(len(lines))
    names = [position for position in positions if _NAME.search(lines[position])]
    orders = [position for position in positions if _NUMBER.search(lines[position])]
    kept = {*positions[:1], *names[-1:], *orders[-_MOST_ORDERS:], *positions[-1:]}
    return "\n".join([_NOTES_HEADER, *(f"- {lines[position]}" for position in sorted(kept))])


def read_notes(text: str) -> list[str]:
    """Return the user's messages that notes in the text hold, oldest first."""
    _, _, notes = text.partition(_NOTES_HEADER)
    return re.findall(r"(?m)^- (.*)$", notes)
