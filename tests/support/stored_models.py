"""Pydantic models that programs use in their states, for `stored_values`."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    RootModel,
    SecretStr,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
)

from tests.support.stored_types import Colour, Level, Pair, Planet, Point

T = TypeVar("T")


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
