"""Ordinary values of ordinary programs, of every kind that a state, a message or a pause may hold.

They are compared with what LangGraph's own saver makes of them, in this process and in another one that imports this
module. Each is made anew when it is asked for.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import http
import ipaddress
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import numpy as np
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langgraph.store.base import Item
from langgraph.types import Command, Interrupt, Overwrite, Send
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    SecretBytes,
    SecretStr,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass

T = TypeVar("T")


# --- enums


class Plain(enum.Enum):
    ONE = 1
    TEXT = "text"
    NOTHING = None


class Level(enum.IntEnum):
    HIGH = 2


class Prio(int, enum.Enum):
    HIGH = 2


class Colour(enum.StrEnum):
    RED = "r"


class OldColour(str, enum.Enum):  # noqa: UP042
    RED = "r"


class Ratio(float, enum.Enum):
    HALF = 0.5


class Rights(enum.IntFlag):
    R = 1
    W = 2


class Perm(enum.Flag):
    R = enum.auto()
    W = enum.auto()


class Planet(enum.Enum):
    EARTH = (5.9, 6.3)
    MARS = (0.6, 3.3)


class Nested(enum.Enum):
    PAIR = ((1, 2), ("a", (None,)))


class Listed(enum.Enum):
    ITEMS = [1, 2]  # noqa: RUF012


class Mapped(enum.Enum):
    FIELDS = {"a": 1}  # noqa: RUF012


class Frozen(enum.Enum):
    FEW = frozenset({1, 2})


class When(enum.Enum):
    START = dt.date(2020, 1, 2)


class Day(dt.date, enum.Enum):
    FIRST = (2020, 1, 2)


class Span(dt.timedelta, enum.Enum):
    HOUR = 3600 * 0, 3600


@dataclasses.dataclass(frozen=True)
class Spec:
    mass: float


class Body(enum.Enum):
    EARTH = Spec(1.0)


class Coin(enum.Enum):
    PENNY = decimal.Decimal("0.01")


class Address(enum.Enum):
    HOME = ipaddress.IPv4Address("127.0.0.1")


class Labelled(enum.Enum):
    A = ("a", "Label A")

    def __init__(self, code: str, label: str) -> None:
        self.code = code
        self.label = label


class Coded(enum.Enum):
    X = ("x", "the x")

    def __new__(cls, code: str, text: str) -> Coded:
        self = object.__new__(cls)
        self._value_ = code
        self.text = text  # type: ignore[attr-defined]
        return self


class Lenient(enum.Enum):
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> Lenient:
        return cls.UNKNOWN


class Aliased(enum.Enum):
    A = 1
    B = 1  # noqa: PIE796


# --- dataclasses


@dataclasses.dataclass
class Point:
    x: int
    y: int = 2


@dataclasses.dataclass(frozen=True)
class FrozenPoint:
    x: int


@dataclasses.dataclass(slots=True)
class SlottedPoint:
    x: int


@dataclasses.dataclass(kw_only=True)
class KeywordPoint:
    x: int


@dataclasses.dataclass(order=True)
class Child(Point):
    z: int = 3


@dataclasses.dataclass
class Holder:
    inside: Any
    more: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Counted:
    text: str
    count: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.count = len(self.text)


@dataclasses.dataclass
class Scaled:
    x: int
    by: dataclasses.InitVar[int]

    def __post_init__(self, by: int) -> None:
        self.x *= by


@dataclasses.dataclass
class ScaledByDefault:
    x: int
    by: dataclasses.InitVar[int] = 2

    def __post_init__(self, by: int) -> None:
        self.x *= by


@dataclasses.dataclass(init=False)
class OwnInit:
    x: int

    def __init__(self, text: str) -> None:
        self.x = int(text)


@dataclasses.dataclass
class OwnInitBeside:
    x: int

    def __init__(self, text: str) -> None:
        self.x = int(text)


@dataclasses.dataclass
class Box(Generic[T]):
    inner: T


@dataclasses.dataclass
class WithClassVar:
    x: int
    self_: int = 0


@dataclasses.dataclass
class CalledSelf:
    node: str
    arg: Any


@pydantic_dataclass
class Checked:
    x: int
    when: dt.date = dt.date(2020, 1, 2)


# --- named tuples


class Pair(NamedTuple):
    a: int
    b: Any = 2


class GenericPair(NamedTuple, Generic[T]):
    a: T


Old = collections.namedtuple("Old", ["x", "y"])
Renamed = collections.namedtuple("Renamed", ["x", "def"], rename=True)


class PairChild(Pair):
    pass


# --- pydantic models


class Hit(BaseModel):
    x: int = 1


class Dog(Hit):
    bark: int = 2


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Holding(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    inside: Any = None


class FrozenModel(BaseModel):
    model_config = ConfigDict(frozen=True)
    x: int


class Aliases(BaseModel):
    first: int = Field(alias="firstName")


class Populated(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    first: int = Field(alias="firstName")


class ByAlias(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)
    first: int = Field(alias="firstName")


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int = 1


class Forbids(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: int = 1


class Computes(BaseModel):
    x: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.x


class ForbidsAndComputes(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: int
    when: dt.date

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.x


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    x: int
    pair: tuple[int, int]


class Private(BaseModel):
    x: int = 1
    _secret: int = PrivateAttr(default=3)


class Excluded(BaseModel):
    x: int = 1
    y: int = Field(default=2, exclude=True)


class Tags(RootModel[list[str]]):
    pass


class Number(RootModel[int]):
    pass


class Table(RootModel[dict[str, Hit]]):
    pass


class Money(BaseModel):
    cents: int

    @model_serializer
    def text(self) -> str:
        return f"{self.cents} ct"


class Invoice(BaseModel):
    total: Money


class Dated(BaseModel):
    at: dt.datetime

    @field_serializer("at")
    def as_text(self, at: dt.datetime) -> str:
        return at.isoformat()


class Upper(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def up(cls, text: str) -> str:
        return text.upper()


class Page(BaseModel, Generic[T]):
    items: list[T]


class Login(BaseModel):
    key: SecretStr


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Bird(BaseModel):
    kind: Literal["bird"] = "bird"


class Zoo(BaseModel):
    pets: list[Annotated[Cat | Bird, Field(discriminator="kind")]]


class Everything(BaseModel):
    colour: Colour = Colour.RED
    level: Level = Level.HIGH
    planet: Planet = Planet.EARTH
    when: dt.datetime = dt.datetime(2020, 1, 2, tzinfo=dt.UTC)
    unique: uuid.UUID = uuid.UUID(int=7)
    point: Point = Field(default_factory=lambda: Point(1))
    pair: Pair = Pair(1)
    path: pathlib.PurePosixPath = pathlib.PurePosixPath("/a")
    tags: set[str] = {"a"}
    amount: decimal.Decimal = decimal.Decimal("1.10")


class Outer:
    class Model(BaseModel):
        n: int = 1

    @dataclasses.dataclass
    class Part:
        n: int = 1

    class Kind(enum.Enum):
        RED = "r"

    class Couple(NamedTuple):
        a: int = 1

    class Deep:
        class Level(enum.IntEnum):
            LOW = 1


class Order(BaseModel):
    class Status(enum.StrEnum):
        OPEN = "open"

    status: Status


# --- classes that have the methods of data


class HasDict:
    def __init__(self, x: int) -> None:
        self.x = x

    def dict(self) -> dict[str, int]:
        return {"x": self.x}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HasDict) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


class Dumps:
    def __init__(self, x: int) -> None:
        self.x = x

    def model_dump(self) -> dict[str, int]:
        return {"x": self.x}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dumps) and other.x == self.x

    __hash__ = None  # type: ignore[assignment]


class Sealed:
    def __init__(self, text: str) -> None:
        self.text = text

    def get_secret_value(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and other.text == self.text

    __hash__ = None  # type: ignore[assignment]


# --- subclasses of what Python has


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Items(list[Any]):
    pass


class Fields(dict[str, Any]):
    pass


class Bag(set[Any]):
    pass


class Amount(decimal.Decimal):
    pass


class Moment(dt.datetime):
    pass


class Date(dt.date):
    pass


class Id(uuid.UUID):
    pass


class Queue(collections.deque[Any]):
    pass


class Bytes(bytes):
    pass


class Typed(TypedDict):
    a: int


def local_types() -> dict[str, Callable[[], Any]]:
    @dataclasses.dataclass
    class LocalPoint:
        x: int = 1

    class LocalModel(BaseModel):
        x: int = 1

    class LocalColour(enum.Enum):
        RED = "r"

    class LocalPair(NamedTuple):
        a: int = 1

    return {
        "a local dataclass": LocalPoint,
        "a local model": LocalModel,
        "a local enum": lambda: LocalColour.RED,
        "a local named tuple": LocalPair,
        "a generic model of a local one": lambda: Page[LocalModel](items=[LocalModel()]),
    }


_TZ = dt.timezone(dt.timedelta(hours=2))
_ZONE = zoneinfo.ZoneInfo("Europe/Berlin")

_MADE_BY: dict[str, Callable[[], Any]] = {
    # JSON and what msgpack has of its own
    "None": lambda: None,
    "True": lambda: True,
    "an int": lambda: 7,
    "the largest int of 64 bits": lambda: 2**64 - 1,
    "the smallest int of 64 bits": lambda: -(2**63),
    "an int beyond 64 bits": lambda: 2**70,
    "a float": lambda: 0.1,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "a negative zero": lambda: -0.0,
    "a text": lambda: "text",
    "an empty text": lambda: "",
    "a text with NUL": lambda: "a\0b",
    "a text of many planes": lambda: "ä€😀",
    "a lone surrogate": lambda: "\ud800",
    "bytes": lambda: b"\0\xff",
    "a bytearray": lambda: bytearray(b"ab"),
    "a memoryview": lambda: memoryview(b"ab"),
    "a list": lambda: [1, [2, {"a": None}]],
    "a dict": lambda: {"a": {"b": [1]}},
    "a dict with int keys": lambda: {1: "a", 2: "b"},
    "a dict with tuple keys": lambda: {(1, "a"): 1},
    "a dict with enum keys": lambda: {Colour.RED: 1, Plain.ONE: 2},
    "a dict with int enum keys": lambda: {Level.HIGH: 1},
    "a dict with date keys": lambda: {dt.date(2020, 1, 2): 1},
    "a dict with UUID keys": lambda: {uuid.UUID(int=1): 1},
    "a dict with a None key": lambda: {None: 1, True: 2},
    "a dict with bytes keys": lambda: {b"a": 1},
    "a dict with frozenset keys": lambda: {frozenset([1]): 1},
    "a tuple": lambda: (1, ("a", None)),
    "a complex number": lambda: 1 + 2j,
    "an object": object,
    "a function": lambda: local_types,
    "a class": lambda: Hit,
    "a range": lambda: range(3),
    "an exception": lambda: ValueError("bad"),
    "Ellipsis": lambda: ...,
    # subclasses
    "a subclass of str": lambda: Text("a"),
    "a subclass of int": lambda: Whole(3),
    "a large subclass of int": lambda: Whole(2**70),
    "a subclass of float": lambda: Real(0.5),
    "a subclass of list": lambda: Items([1]),
    "a subclass of dict": lambda: Fields(a=1),
    "a subclass of set": lambda: Bag([1]),
    "a subclass of bytes": lambda: Bytes(b"a"),
    "a subclass of Decimal": lambda: Amount("1.5"),
    "a subclass of datetime": lambda: Moment(2020, 1, 2),
    "a subclass of date": lambda: Date(2020, 1, 2),
    "a subclass of UUID": lambda: Id(int=3),
    "a subclass of deque": lambda: Queue([1]),
    "an OrderedDict": lambda: collections.OrderedDict(b=1, a=2),
    "a defaultdict": lambda: collections.defaultdict(list, a=[1]),
    "a Counter": lambda: collections.Counter("aab"),
    "a ChainMap": lambda: collections.ChainMap({"a": 1}),
    "a TypedDict": lambda: Typed(a=1),
    # the standard library's values
    "a set": lambda: {1, "a"},
    "an empty set": set,
    "a set of tuples": lambda: {(1, 2), ("a", ("b",))},
    "a set of frozensets": lambda: {frozenset([1])},
    "a frozenset": lambda: frozenset({"a"}),
    "a deque": lambda: collections.deque([1, 2]),
    "a bounded deque": lambda: collections.deque([1, 2], maxlen=3),
    "a datetime": lambda: dt.datetime(2020, 1, 2, 3, 4, 5, 6),
    "a datetime with an offset": lambda: dt.datetime(2020, 1, 2, tzinfo=_TZ),
    "a datetime with a zone": lambda: dt.datetime(2020, 1, 2, tzinfo=_ZONE),
    "a datetime in the fold": lambda: dt.datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=_ZONE),
    "a date": lambda: dt.date(2020, 1, 2),
    "a time": lambda: dt.time(1, 2, 3, 4),
    "a time with an offset": lambda: dt.time(1, 2, tzinfo=_TZ, fold=1),
    "a time with a zone": lambda: dt.time(1, 2, tzinfo=_ZONE),
    "a timedelta": lambda: dt.timedelta(days=-1, microseconds=5),
    "a timezone": lambda: _TZ,
    "a named timezone": lambda: dt.timezone(dt.timedelta(hours=1), "CET"),
    "UTC": lambda: dt.UTC,
    "a zone": lambda: _ZONE,
    "a UUID": lambda: uuid.UUID(int=5),
    "a Decimal": lambda: decimal.Decimal("1.100"),
    "a Decimal that is no number": lambda: decimal.Decimal("NaN"),
    "a Fraction": lambda: fractions.Fraction(1, 3),
    "a Path": lambda: pathlib.Path("/a/b"),
    "a relative Path": lambda: pathlib.Path("a"),
    "a PurePosixPath": lambda: pathlib.PurePosixPath("/a/b"),
    "a PureWindowsPath": lambda: pathlib.PureWindowsPath("c:\\a"),
    "a pattern": lambda: re.compile("a+", re.IGNORECASE),
    "a bytes pattern": lambda: re.compile(b"a+"),
    "an IPv4 address": lambda: ipaddress.ip_address("127.0.0.1"),
    "an IPv6 address": lambda: ipaddress.ip_address("::1"),
    "an IPv4 network": lambda: ipaddress.ip_network("10.0.0.0/8"),
    "an IPv6 network": lambda: ipaddress.ip_network("fe80::/10"),
    "an IPv4 interface": lambda: ipaddress.ip_interface("10.0.0.1/8"),
    "an IPv6 interface": lambda: ipaddress.ip_interface("fe80::1/10"),
    "an HTTP status": lambda: http.HTTPStatus.OK,
    "an HTTP method": lambda: http.HTTPMethod.GET,
    "a flag of re": lambda: re.IGNORECASE | re.MULTILINE,
    "a SimpleNamespace": lambda: __import__("types").SimpleNamespace(a=1),
    # enums
    "an enum": lambda: Plain.ONE,
    "an enum of texts": lambda: Plain.TEXT,
    "an enum of None": lambda: Plain.NOTHING,
    "an IntEnum": lambda: Level.HIGH,
    "an enum that is an int": lambda: Prio.HIGH,
    "a StrEnum": lambda: Colour.RED,
    "an enum that is a str": lambda: OldColour.RED,
    "an enum that is a float": lambda: Ratio.HALF,
    "an IntFlag": lambda: Rights.R,
    "an IntFlag of two": lambda: Rights.R | Rights.W,
    "an IntFlag with unknown bits": lambda: Rights(9),
    "a Flag": lambda: Perm.W,
    "a Flag of two": lambda: Perm.R | Perm.W,
    "a Flag of none": lambda: Perm(0),
    "an enum of tuples": lambda: Planet.EARTH,
    "an enum of nested tuples": lambda: Nested.PAIR,
    "an enum of lists": lambda: Listed.ITEMS,
    "an enum of dicts": lambda: Mapped.FIELDS,
    "an enum of frozensets": lambda: Frozen.FEW,
    "an enum of dates": lambda: When.START,
    "an enum that is a date": lambda: Day.FIRST,
    "an enum that is a timedelta": lambda: Span.HOUR,
    "an enum of dataclasses": lambda: Body.EARTH,
    "an enum of Decimals": lambda: Coin.PENNY,
    "an enum of addresses": lambda: Address.HOME,
    "an enum with an __init__": lambda: Labelled.A,
    "an enum with a __new__": lambda: Coded.X,
    "an enum with _missing_": lambda: Lenient.UNKNOWN,
    "an alias in an enum": lambda: Aliased.B,
    "a list of enums": lambda: [Plain.ONE, Prio.HIGH, Level.HIGH, Planet.MARS],
    "a set of enums": lambda: {Plain.ONE, Prio.HIGH, Planet.MARS},
    "a dict of enums": lambda: {"a": Plain.ONE, "b": Rights.W},
    # dataclasses
    "a dataclass": lambda: Point(1),
    "a frozen dataclass": lambda: FrozenPoint(1),
    "a slotted dataclass": lambda: SlottedPoint(1),
    "a dataclass with keywords": lambda: KeywordPoint(x=1),
    "a child of a dataclass": lambda: Child(1),
    "a dataclass that holds much": lambda: Holder(Point(1), [Plain.ONE, (1, 2), {Pair(1)}]),
    "a dataclass in a dataclass": lambda: Holder(Holder(Holder(None))),
    "a dataclass with a computed field": lambda: Counted("abc"),
    "a dataclass with an InitVar": lambda: Scaled(2, 3),
    "a dataclass with a default InitVar": lambda: ScaledByDefault(2),
    "a dataclass with an __init__": lambda: OwnInit("4"),
    "a dataclass with an __init__ beside": lambda: OwnInitBeside("4"),
    "a generic dataclass": lambda: Box[int](1),
    "a dataclass with a field self_": lambda: WithClassVar(1),
    "a dataclass like a Send": lambda: CalledSelf("n", [1]),
    "a pydantic dataclass": lambda: Checked(x=1),
    "a set of dataclasses": lambda: {FrozenPoint(1)},
    "a dataclass with a message": lambda: Holder(HumanMessage("inside", id="m")),
    # named tuples
    "a NamedTuple": lambda: Pair(1),
    "a NamedTuple in a NamedTuple": lambda: Pair(1, Pair(2, (3,))),
    "a generic NamedTuple": lambda: GenericPair(1),
    "a namedtuple": lambda: Old(1, 2),
    "a renamed namedtuple": lambda: Renamed(1, 2),
    "a child of a NamedTuple": lambda: PairChild(1),
    "a list of NamedTuples": lambda: [Pair(1), Pair(2)],
    # models
    "a model": Hit,
    "a subclass of a model": Dog,
    "a list of models": lambda: [Hit(), Dog()],
    "a tree of models": lambda: Tree(value=1, children=[Tree(value=2)]),
    "a model that holds a model": lambda: Holding(inside=Hit()),
    "a model that holds a dataclass": lambda: Holding(inside=Point(1)),
    "a model that holds an enum": lambda: Holding(inside=Planet.EARTH),
    "a model that holds a message": lambda: Holding(inside=HumanMessage("inside", id="m")),
    "a model that holds an array": lambda: Holding(inside=np.array([1, 2])),
    "a frozen model": lambda: FrozenModel(x=1),
    "a set of frozen models": lambda: {FrozenModel(x=1)},
    "a model with an alias": lambda: Aliases(firstName=1),
    "a model populated by name": lambda: Populated(first=1),
    "a model that dumps by alias": lambda: ByAlias(firstName=1),
    "a model with extra fields": lambda: Extra(y=[1]),  # type: ignore[call-arg]
    "a model that forbids extra fields": lambda: Forbids(x=2),
    "a model that computes": lambda: Computes(x=2),
    "a model that forbids and computes": lambda: ForbidsAndComputes(x=2, when=dt.date(2020, 1, 2)),
    "a strict model": lambda: Strict(x=1, pair=(1, 2)),
    "a model with a private attribute": Private,
    "a model with an excluded field": Excluded,
    "a RootModel of a list": lambda: Tags(["a"]),
    "a RootModel of an int": lambda: Number(3),
    "a RootModel of models": lambda: Table({"a": Hit()}),
    "a model whose serializer gives a text": lambda: Money(cents=5),
    "a model with such a model": lambda: Invoice(total=Money(cents=5)),
    "a model with a field serializer": lambda: Dated(at=dt.datetime(2020, 1, 2)),
    "a model with a validator": lambda: Upper(text="a"),
    "a generic model": lambda: Page[Hit](items=[Hit()]),
    "a generic model of ints": lambda: Page[int](items=[1]),
    "a generic model of lists": lambda: Page[list[int]](items=[[1]]),
    "a generic model of a generic model": lambda: Page[Page[int]](items=[Page[int](items=[1])]),
    "a generic model of anything": lambda: Page(items=[1]),
    "a model with a secret": lambda: Login(key="s"),  # type: ignore[arg-type]
    "a model with a union": lambda: Zoo(pets=[Cat(), Bird()]),
    "a model of everything": Everything,
    "a SecretStr": lambda: SecretStr("s"),
    "SecretBytes": lambda: SecretBytes(b"s"),
    "a nested model": Outer.Model,
    "a nested dataclass": Outer.Part,
    "a nested enum": lambda: Outer.Kind.RED,
    "a nested named tuple": Outer.Couple,
    "a deeply nested enum": lambda: Outer.Deep.Level.LOW,
    "a model with a nested enum": lambda: Order(status=Order.Status.OPEN),
    # the methods of data
    "a class with dict()": lambda: HasDict(1),
    "a class with model_dump()": lambda: Dumps(1),
    "a class with a secret": lambda: Sealed("s"),
    # numpy
    "an array": lambda: np.array([1, 2]),
    "an array of one": lambda: np.array([1]),
    "an array of floats": lambda: np.array([[0.5, float("nan")]]),
    "an array in Fortran's order": lambda: np.asfortranarray(np.arange(6).reshape(2, 3)),
    "an array that is not contiguous": lambda: np.arange(10)[::2],
    "an empty array": lambda: np.array([]),
    "an array of texts": lambda: np.array(["a", "bc"]),
    "an array of objects": lambda: np.array([1, "a"], dtype=object),
    "an array of dates": lambda: np.array(["2020-01-02"], dtype="datetime64[D]"),
    "an array of records": lambda: np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "a scalar of numpy": lambda: np.int64(3),
    "a float of numpy": lambda: np.float64(0.5),
    "a bool of numpy": lambda: np.bool_(True),
    "an array of no dimension": lambda: np.array(3),
    "a list of arrays": lambda: [np.array([1, 2])],
    # LangChain and LangGraph
    "a message": lambda: HumanMessage("hello", id="m1"),
    "a message without an id": lambda: AIMessage("hello"),
    "a list of messages": lambda: [HumanMessage("a", id="1"), AIMessage("b", id="2")],
    "messages of a tool": lambda: ToolMessage("x", tool_call_id="c", artifact=Point(1), id="3"),
    "a dict of messages": lambda: {"a": SystemMessage("s", id="4"), "b": [HumanMessage("a", id="5")]},
    "a RemoveMessage": lambda: RemoveMessage("1"),
    "a document": lambda: Document("text", metadata={"a": Plain.ONE}),
    "a Send": lambda: Send("n", {"a": Point(1)}),
    "a Command": lambda: Command(update={"a": Plain.ONE}, goto="n"),
    "an Interrupt": lambda: Interrupt(value=Planet.EARTH, id="i"),
    "an Overwrite": lambda: Overwrite([Point(1)]),
    "an item of a store": lambda: Item(
        value={"a": 1},
        key="k",
        namespace=("n",),
        created_at=dt.datetime(2020, 1, 2),
        updated_at=dt.datetime(2020, 1, 2),
    ),
    "a dict like a message": lambda: {"role": "user", "content": "hi"},
    "a pair like a message": lambda: ("user", "ada"),
    "a list of pairs like messages": lambda: [("user", "ada"), ("ai", "x")],
    "a list of dicts like messages": lambda: [{"role": "user", "content": "hi"}] * 2,
    **local_types(),
}

VALUES: dict[str, Callable[[], Any]] = _MADE_BY
"""A function that makes the value, by a name that says what it is."""
