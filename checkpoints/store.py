"""What loading and saving share."""

from __future__ import annotations

from dataclasses import dataclass, field

from checkpoints.memory import Memory
from checkpoints.port import Backend
from checkpoints.sealing import Plain, Sealer
from checkpoints.wire import Types


@dataclass(frozen=True)
class Store:
    """A database, with what this process knows about it."""

    backend: Backend
    types: Types
    sealer: Sealer = field(default_factory=Plain)
    memory: Memory = field(default_factory=Memory)
