"""The file in which one message's evidence leaves the house; `cli/evidence/verifier.py` checks it, and shares nothing.

One JSON object, without spaces and with a newline at its end. Lines of other messages are shown as subject and digest.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.core import base64url, codec, evidence, strict_json
from gateway.core.evidence import Entry

# The exhibits that are signatures, by whose key made them.
_OWN = frozenset({"signature", "requestSignature"})
_SMP = frozenset({"callbackSignature", "answerSignature", "replySignature"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """A stretch of a chain from a message's first entry to the checkpoint after its last, and what is attested there.

    ``previous`` is number and link before the first of ``entries``, ``checkpoints`` are tokens, ``kept`` are bytes by
    their digest, also such that nothing attests; keys are public, as JWKs.
    """

    message_id: str
    environment: str
    participant: str
    previous: tuple[int, str]
    entries: Sequence[Entry]
    checkpoints: Sequence[str]
    kept: Mapping[str, bytes]
    own_keys: Sequence[Mapping[str, str]]
    smp_keys: Sequence[Mapping[str, str]]


def write(dossier: Dossier) -> bytes:
    """The whole file."""
    own = [entry for entry in dossier.entries if entry.message_id == dossier.message_id]
    attested = {digest for entry in own for digest in entry.exhibits.digests.values()}
    kept = {digest: dossier.kept[digest] for digest in sorted(attested) if digest in dossier.kept}
    ours = {*_key_ids(own, _OWN, kept), *map(_key_id, dossier.checkpoints)}
    number, link = dossier.previous
    document = {
        "format": evidence.FORMAT,
        "environment": dossier.environment,
        "participant": dossier.participant,
        "message": dossier.message_id,
        "previous": {"number": number, "link": link},
        "entries": [_shown(dossier, number + place, entry) for place, entry in enumerate(dossier.entries, start=1)],
        "checkpoints": list(dossier.checkpoints),
        "exhibits": {digest: _held(data) for digest, data in kept.items()},
        "keys": {"own": _used(dossier.own_keys, ours), "smp": _used(dossier.smp_keys, _key_ids(own, _SMP, kept))},
    }
    return codec.dumps(document) + b"\n"


def _shown(dossier: Dossier, number: int, entry: Entry) -> str | dict[str, str]:
    line = evidence.line(number, entry)
    if entry.message_id == dossier.message_id:
        return line.decode()
    return {"subject": evidence.subject(entry.message_id), "digest": evidence.digest(line)}


def _held(data: bytes) -> dict[str, str]:
    try:
        return {"utf8": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _used(keys: Sequence[Mapping[str, str]], used: set[str]) -> list[dict[str, str]]:
    """Each key that signs something, once; the first of an id counts."""
    found: dict[str, dict[str, str]] = {}
    for jwk in keys:
        if jwk["kid"] in used:
            found.setdefault(jwk["kid"], dict(jwk))
    return list(found.values())


def _key_ids(own: Sequence[Entry], signatures: frozenset[str], kept: Mapping[str, bytes]) -> set[str]:
    named = {d for entry in own for name, d in entry.exhibits.digests.items() if name in signatures}
    return {_key_id(kept[digest].decode()) for digest in named if digest in kept}


def _key_id(token: str) -> str:
    header = strict_json.loads(base64url.decode(token.split(".", 1)[0]))
    return str(header["kid"]) if isinstance(header, dict) and "kid" in header else ""
