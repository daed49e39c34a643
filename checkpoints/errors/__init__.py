"""All errors of the checkpointer.

A message says what was found, what was needed and what to do. No message has a password or the text of a conversation.
"""

from __future__ import annotations

from holdfast.checkpoints.errors.answers import (
    AlreadyAnswered,
    InvalidAnswer,
    NodeMissing,
    NotAnswered,
    RequestClosed,
    UnknownInterrupt,
)
from holdfast.checkpoints.errors.base import (
    HoldfastError,
    InvalidArgument,
)
from holdfast.checkpoints.errors.databases import (
    DatabaseUnavailable,
    DriverFault,
    DriverMissing,
    InvalidSearch,
    InvalidURL,
    NotOpen,
    ReadOnlyDatabase,
    SchemaTooNew,
    SearchUnavailable,
    Unreachable,
)
from holdfast.checkpoints.errors.effects import (
    EffectClosed,
    EffectNotApproved,
    EffectNotCommitted,
    EffectTaken,
)
from holdfast.checkpoints.errors.keys import (
    EncryptedDatabase,
    InvalidKeys,
    KeyMissing,
    NotEncrypted,
    SealBroken,
)
from holdfast.checkpoints.errors.runs import (
    KeyReused,
    UnknownRun,
)
from holdfast.checkpoints.errors.threads import (
    OF_ALTERED_DATA,
    ClockSkew,
    DamagedThread,
    InvalidCursor,
    InvalidThread,
    NothingToUndo,
    NotPermitted,
    NotStorable,
    ThreadBusy,
    ThreadChanged,
    ThreadConflict,
    UnknownCheckpoint,
    UnknownMessage,
    UnknownThread,
    UserErased,
    row_explained,
)
from holdfast.checkpoints.errors.transfers import (
    AlreadyAdded,
    InvalidArchive,
    InvalidExport,
    NotConverted,
    NotMoved,
    ThreadDiffers,
    ThreadNotEmpty,
    UnreadableHistory,
)

__all__ = [
    "OF_ALTERED_DATA",
    "AlreadyAdded",
    "AlreadyAnswered",
    "ClockSkew",
    "DamagedThread",
    "DatabaseUnavailable",
    "DriverFault",
    "DriverMissing",
    "EffectClosed",
    "EffectNotApproved",
    "EffectNotCommitted",
    "EffectTaken",
    "EncryptedDatabase",
    "HoldfastError",
    "InvalidAnswer",
    "InvalidArchive",
    "InvalidArgument",
    "InvalidCursor",
    "InvalidExport",
    "InvalidKeys",
    "InvalidSearch",
    "InvalidThread",
    "InvalidURL",
    "KeyMissing",
    "KeyReused",
    "NodeMissing",
    "NotAnswered",
    "NotConverted",
    "NotEncrypted",
    "NotMoved",
    "NotOpen",
    "NotPermitted",
    "NotStorable",
    "NothingToUndo",
    "ReadOnlyDatabase",
    "RequestClosed",
    "SchemaTooNew",
    "SealBroken",
    "SearchUnavailable",
    "ThreadBusy",
    "ThreadChanged",
    "ThreadConflict",
    "ThreadDiffers",
    "ThreadNotEmpty",
    "UnknownCheckpoint",
    "UnknownInterrupt",
    "UnknownMessage",
    "UnknownRun",
    "UnknownThread",
    "Unreachable",
    "UnreadableHistory",
    "UserErased",
    "row_explained",
]
