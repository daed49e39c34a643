"""The errors about encryption. None of them has a key, nor what was encrypted."""

from __future__ import annotations

from holdfast.checkpoints.errors.base import HoldfastError
from holdfast.checkpoints.errors.threads import DamagedThread


class InvalidKeys(HoldfastError, ValueError):
    """The master keys cannot be used as they were given."""


class KeyMissing(HoldfastError):
    """A master key is not among those that were given, or is another key under the same id."""


class NotEncrypted(HoldfastError):
    """Keys were given for a database that is not encrypted."""


class EncryptedDatabase(HoldfastError):
    """What was asked for cannot be done in an encrypted database."""


class SealBroken(DamagedThread):
    """What is stored was altered, was moved from another place, or is not encrypted although it must be."""
