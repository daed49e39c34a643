"""Types that programs use in their states, of every kind, for `stored_values`."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import uuid
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

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
