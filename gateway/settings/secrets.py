"""Secrets are references, never values: ``file:path``, ``env:NAME``, ``credential:name`` (systemd).

A missing secret is an error only when it is read: keys may be generated after the configuration is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gateway.core.secret import Reference
from gateway.errors import SecretError

# Larger than any key, certificate chain or password; keeps a mistyped path to a disk image out of memory.
MAX_SECRET_BYTES = 1024 * 1024
CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"  # set by systemd for LoadCredential= and SetCredential=


class SecretSource(StrEnum):
    """Where a secret is kept."""

    FILE = "file"
    ENV = "env"
    CREDENTIAL = "credential"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRef:
    """Where to find a secret; ``name`` is an absolute path, a variable's name, or a systemd credential's name."""

    source: SecretSource
    name: str

    def __str__(self) -> str:
        return f"{self.source}:{self.name}"


def located(reference: Reference, state: Path) -> SecretRef:
    """A reference as written, with its relative ``file:`` path below the state folder."""
    source = SecretSource(reference.source)
    return SecretRef(source=source, name=str(state / reference.name) if source is SecretSource.FILE else reference.name)


def read_secret(ref: SecretRef, *, environ: Mapping[str, str]) -> bytes:
    """Read a secret's bytes as they are; a password's line end is for its user to strip.

    Raises:
        SecretError: it is not there, cannot be read, is empty, or is larger than 1 MiB.
    """
    if ref.source is SecretSource.ENV:
        text = environ.get(ref.name)
        if not text:
            raise SecretError(f"{ref}: the environment variable {ref.name} is not set")
        return text.encode()
    path = secret_path(ref, environ=environ)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SecretError(f"{ref}: {error.strerror or type(error).__name__}") from error
    if len(data) > MAX_SECRET_BYTES:
        raise SecretError(f"{ref}: larger than {MAX_SECRET_BYTES} bytes; is this the right file?")
    if not data.strip():
        raise SecretError(f"{ref}: the file is empty")
    return data


def secret_path(ref: SecretRef, *, environ: Mapping[str, str]) -> Path:
    """The file in which a secret is kept, whether or not it exists.

    Raises:
        SecretError: an ``env:`` reference has no file, or systemd passed no credentials.
    """
    if ref.source is SecretSource.ENV:
        raise SecretError(f"{ref}: a file is needed here; use file: or credential:")
    if ref.source is SecretSource.FILE:
        return Path(ref.name)
    folder = environ.get(CREDENTIALS_DIRECTORY)
    if not folder:
        raise SecretError(f"{ref}: {CREDENTIALS_DIRECTORY} is not set; systemd sets it for LoadCredential=")
    return Path(folder) / ref.name
