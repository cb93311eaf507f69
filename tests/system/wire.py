"""A wire profile as the stories speak it, read by their own few lines; PyJWT signs, nothing of the gateway helps."""

from __future__ import annotations

import base64
import functools
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from gateway.cli.certificates import private_pem

ROOT = Path(__file__).parents[2]
_NEW: Mapping[str, Callable[[], PrivateKeyTypes]] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@functools.cache
def private_key(algorithm: str, owner: str) -> bytes:
    """A PEM for this owner; made once, since RSA keys are slow to make."""
    assert owner
    return private_pem(_NEW[algorithm]())


@dataclass(frozen=True)
class Wire:
    """The names of one profile; paths may hold ``{places}``."""

    name: str
    folder: Path
    mutual_tls: bool = False

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.yaml"

    @functools.cached_property
    def tree(self) -> dict[str, Any]:
        loaded: dict[str, Any] = yaml.safe_load(self.file.read_text("utf-8"))
        return loaded

    @property
    def algorithm(self) -> str:
        return str(self.tree["signature"]["algorithms"][0])

    @property
    def form(self) -> str:
        return str(self.tree["signature"]["form"])

    @property
    def answers_signed(self) -> bool:
        return bool(self.tree["signature"]["responses"] == "signed")

    @property
    def assets(self) -> str:
        return str(self.tree["paths"]["assets"])

    @property
    def login(self) -> str:
        return str(self.tree["paths"]["authenticate"])

    @property
    def status(self) -> tuple[str, ...]:
        """Every path that a status is asked at."""
        paths = self.tree["paths"]
        return tuple(paths[name] for name in ("status", "status_by_submission") if name in paths)

    @property
    def taken(self) -> int:
        """The status that carries a transaction id."""
        return int(self.tree["answers"]["submission"]["transaction"][0])

    @property
    def tolerance_s(self) -> int:
        return int(self.tree["timings"]["clock_tolerance"].removesuffix("s"))

    def callback(self, participant: str) -> str:
        return str(self.tree["paths"]["callback"]).replace("{participant}", participant)

    def header(self, name: str) -> str:
        """The name of a header, in lower case."""
        return str(self.tree["headers"][name]).lower()

    def bearer(self, headers: Mapping[str, str]) -> str:
        """The token that a request carries."""
        scheme = self.tree["headers"]["authorization_scheme"]
        return headers.get(self.header("authorization"), "").removeprefix(f"{scheme} ")

    def word(self, name: str) -> str:
        """The spelling of a status."""
        return str(self.tree["status_words"][name][0])

    def named(self, section: str, values: Mapping[str, object]) -> dict[str, Any]:
        """A document in the profile's names; what the profile does not name stays as it is, paths are unfolded."""
        names: Mapping[str, str] = self.tree["members"][section]
        document: dict[str, Any] = {}
        for ours, value in values.items():
            *outer, last = str(names.get(ours, ours)).split(".")
            place: dict[str, Any] = document
            for step in outer:
                place = place.setdefault(step, {})
            place[last] = value
        return document

    def errors(self, *errors: Mapping[str, object]) -> list[dict[str, Any]]:
        """Errors, whose rows count from 0 here and from wherever the profile says on the wire."""
        first = self.tree["members"]["error"].get("first_row", 0)
        return [self.named("error", {**error, "row": int(str(error["row"])) + first}) for error in errors]

    def declined(self, *errors: Mapping[str, object]) -> bytes:
        """The body of an answer that declines."""
        return json.dumps(self.named("result", {"declined": self.errors(*errors)})).encode()

    def receipt(self, answer: Mapping[str, Any]) -> str:
        """How a callback was acknowledged, in our words."""
        names = self.tree["acknowledgement"]
        return {names["accepted"]: "accepted", names["duplicate"]: "duplicate"}[answer[names["word"]]]

    def sign(self, body: bytes, key: bytes, *, kid: str, typ: str, aud: str, jti: str, **changes: object) -> str:
        """A detached token; None leaves a member of its header out."""
        header = {
            "kid": kid,
            "typ": self.tree["signature"].get(typ, typ),
            "iat": int(time.time()),
            "jti": jti,
            "aud": aud,
            "crit": ["iat", "jti", "aud"],
            **changes,
        }
        present = {name: value for name, value in header.items() if value is not None}
        head, _, tail = jwt.api_jws.encode(body, key, algorithm=self.algorithm, headers=present).split(".")
        return f"{head}..{tail}"

    def pack(self, body: bytes, token: str) -> tuple[bytes, dict[str, str]]:
        """What carries a body and its detached token: the bytes, and the headers beside them."""
        head, _, tail = token.split(".")
        kind = {"Content-Type": self.tree["media_types"]["signed"]}
        match self.form:
            case "compact" if body:
                return f"{head}.{b64(body)}.{tail}".encode(), kind
            case "flattened" if body:
                members = {"signature": tail, "protected": head, "payload": b64(body)}
                return json.dumps(members, indent=1).encode(), kind
            case _:
                return body, {**kind, self.header("signature"): token}

    def unpack(self, body: bytes, headers: Mapping[str, str]) -> tuple[bytes, str]:
        """The body and its detached token."""
        if self.form == "detached" or not body:
            return body, headers.get(self.header("signature"), "")
        if self.form == "flattened":
            members = json.loads(body)
            head, payload, tail = members["protected"], members["payload"], members["signature"]
        else:
            head, payload, tail = body.decode().split(".")
        return unb64(payload), f"{head}..{tail}"


def fits(template: str, path: str) -> bool:
    """Whether a path is one of this template."""
    pattern = re.sub(r"\\{[a-z_]+\\}", "[^/]+", re.escape(template))
    return re.fullmatch(pattern, path) is not None


SMP_V1 = Wire("smp-v1", ROOT / "config" / "profiles")
OTHER_V7 = Wire("other-v7", ROOT / "tests" / "system" / "profiles", mutual_tls=True)
