"""Whom the simulated SMP knows: logins from secret files, public keys from ``participants.jwks.json``."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from joserfc.errors import JoseError
from joserfc.jwk import Key, import_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """One login; the password is read from its file at each use, so that it can be changed while the SMP runs."""

    id: str
    username: str
    password_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A participant's key under its kid; only this algorithm may be used with it."""

    participant: str
    kid: str
    algorithm: str
    key: Key


class Participants:
    """The accounts and keys of one state folder.

    Without an explicit list, each ``DIR/secrets/NAME.password`` is an account of participant NAME with that username. A
    key file that is missing or damaged knows nobody.
    """

    def __init__(self, state: Path, listed: Sequence[Participant] | None = None) -> None:
        self._secrets = state / "secrets"
        self._jwks = state / "pki" / "participants.jwks.json"
        self._listed = listed
        self._keys: Mapping[str, PublicKey] = {}

    def login(self, username: str, password: str) -> str | None:
        """The participant whose credentials these are; None when there is none."""
        for participant in self._accounts():
            if participant.username == username and participant.password_file.is_file():
                secret = participant.password_file.read_text("utf-8").strip()
                if secret and hmac.compare_digest(secret.encode(), password.encode()):
                    return participant.id
        return None

    def key(self, kid: str) -> PublicKey | None:
        """The key with this kid; the file is read again when the kid is unknown, so that keys can be rolled."""
        if kid not in self._keys:
            self._keys = read_keys(self._jwks)
        return self._keys.get(kid)

    def _accounts(self) -> Sequence[Participant]:
        if self._listed is not None:
            return self._listed
        return [
            Participant(id=path.stem, username=path.stem, password_file=path)
            for path in sorted(self._secrets.glob("*.password"))
        ]


def read_keys(path: Path) -> dict[str, PublicKey]:
    """Read the signing keys of a JWKS whose members carry kid, alg, use and participant; others are passed over."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    members = document.get("keys") if isinstance(document, dict) else None
    found = (_public_key(member) for member in members or () if isinstance(member, dict))
    return {key.kid: key for key in found if key is not None}


def _public_key(member: Mapping[str, object]) -> PublicKey | None:
    kid, algorithm, participant = member.get("kid"), member.get("alg"), member.get("participant")
    if not (isinstance(kid, str) and isinstance(algorithm, str) and isinstance(participant, str)):
        return None
    if member.get("use", "sig") != "sig" or member.get("kty") == "oct":
        return None
    try:
        key = import_key({name: value for name, value in member.items() if isinstance(value, str)})
    except (JoseError, ValueError, KeyError):
        return None
    return PublicKey(participant=participant, kid=kid, algorithm=algorithm, key=key)
