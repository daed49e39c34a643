"""Keys to test with, and the run of any test over encrypted databases."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

import pytest

import holdfast.checkpoints
from holdfast.checkpoints import HoldfastSaver, Keys, open_checkpointer
from holdfast.checkpoints.encryption.opening import Encryption

KEY: Final = f"first:{b64encode(bytes(range(32))).decode()}"
NEWER_KEY: Final = f"second:{b64encode(bytes(range(1, 33))).decode()}"


def encrypted(url: str, keys: Keys = KEY) -> HoldfastSaver:
    """Return a checkpointer of an encrypted database, or of a new one that will be."""
    return open_checkpointer(url, keys=keys)


def encrypt_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every database be encrypted that this process opens without keys."""
    encryption_for = holdfast.checkpoints.encryption_for

    def with_keys(place: Any, keys: Keys | None, **more: Any) -> Encryption | None:
        return encryption_for(place, KEY if keys is None else keys, **more)

    monkeypatch.setattr(holdfast.checkpoints, "encryption_for", with_keys)
