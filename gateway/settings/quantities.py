"""Values that YAML writes as text, read at the boundary: names, durations, rates, addresses, URLs, references.

Every sentence is for the engineer who wrote the file; a value that may be a secret is never repeated in one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import PlainValidator, WithJsonSchema

_AGE = re.compile(r"([0-9]{1,5})d")
_LONGEST_DAYS = 36_500
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(us|ms|s|m|min|h|d)")
_MINUTE_US = 60_000_000
_UNIT_US = {
    "us": 1,
    "ms": 1000,
    "s": 1_000_000,
    "m": _MINUTE_US,
    "min": _MINUTE_US,  # as the wire profile writes it
    "h": 60 * _MINUTE_US,
    "d": 24 * 60 * _MINUTE_US,
}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/(s|m|h)")
_RATE_SECONDS = {"s": 1, "m": 60, "h": 3600}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_POINT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
# Not every address or number that exists, but none that could only be a slip of the pen.
_EMAIL = re.compile(r"[^\s@<>,;:\"()\[\]]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_PHONE = re.compile(r"\+?[0-9](?:[ ()/-]*[0-9]){4,14}")  # at most 15 digits (ITU-T E.164)
_LINE_LENGTH = 100
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
LONDON = "Europe/London"
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOST = re.compile(r"\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A ``host:port`` to listen on."""

    host: str
    port: int


def name(value: object) -> str:
    """Read the name of a site, participant, connection, mailbox or message."""
    written = text(value)
    if not _NAME.fullmatch(written):
        raise ValueError(f"{written!r} is not a name: small letters, digits, - and _, a letter first, at most 63")
    return written


def point_name(value: object) -> str:
    """Read the name of a point; site people often bring capital letters along."""
    written = text(value)
    if not _POINT_NAME.fullmatch(written):
        raise ValueError(f"{written!r} is not a point name: letters, digits, - and _, a letter first, at most 63")
    return written


def duration(value: object) -> int:
    """Read a duration such as ``250ms`` as µs."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shown(value)} is not a duration; write a number and its unit, such as 250ms, 10s, 5m, 24h")
    microseconds = Decimal(match[1]) * _UNIT_US[match[2]]
    if microseconds != int(microseconds) or not 0 < microseconds <= 366 * _UNIT_US["d"]:
        raise ValueError(f"{value} is outside 1us..366d")
    return int(microseconds)


def age(value: object) -> int:
    """Read how long something is kept, such as ``400d``, as µs."""
    match = _AGE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not 0 < int(match[1]) <= _LONGEST_DAYS:
        raise ValueError(f"{shown(value)} is not a number of days in 1d..{_LONGEST_DAYS}d; write it such as 400d")
    return int(int(match[1]) * _UNIT_US["d"])


def rate(value: object) -> float:
    """Read a rate such as ``50/s`` as a number per second."""
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not Decimal(match[1]):
        raise ValueError(f"{shown(value)} is not a rate; write a number per time, such as 50/s or 600/m")
    return float(Decimal(match[1]) / _RATE_SECONDS[match[2]])


def times(value: object) -> list[time]:
    """Read one time of the day such as ``06:30``, or a list of them."""
    written = value if isinstance(value, list) else [value]
    found = [_TIME.fullmatch(each) if isinstance(each, str) else None for each in written]
    if not found or None in found:
        raise ValueError(f"{shown(value)} is no time of the day; write 06:30, or a list such as [06:30, 18:30]")
    return sorted({time(int(match[1]), int(match[2])) for match in found if match is not None})


def time_zone(value: object) -> ZoneInfo:
    """Read the name of a time zone."""
    try:
        return ZoneInfo(text(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"there is no time zone {shown(value)} on this machine; write one such as {LONDON}") from None


def address(value: object) -> Address:
    """Read ``host:port`` or ``[ipv6]:port``."""
    written = text(value)
    host, _, port = written.rpartition(":")
    if not _HOST.fullmatch(host) or not (port.isascii() and port.isdigit()) or int(port[:6]) > 65535:
        raise ValueError(f"{written!r} is not an address to listen on; write host:port, such as 127.0.0.1:9100")
    return Address(host=host.strip("[]"), port=int(port))


def proxy_url(value: object) -> str:
    """Read where an HTTP proxy is."""
    written = text(value)
    try:
        parts = urlsplit(written)
        plain = parts.scheme == "http" and parts.hostname and parts.port and not (parts.path or parts.query)
    except ValueError as error:
        raise ValueError("this is not a URL") from error
    if parts.username is not None or parts.password is not None:
        raise ValueError("a proxy that asks for a login is not supported; let it know this host by its address")
    if not plain or parts.fragment or re.search(r"[\s?#\\]", written) or not written.isascii():
        raise ValueError(f"{written!r} is not where a proxy is; write http://HOST:PORT")
    return written


def https_url(value: object) -> str:
    """Read an https URL that paths are put behind; it is signed byte for byte as ``aud``, so nothing is tidied."""
    written = text(value)
    try:
        parts = urlsplit(written)
        port_fits = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ValueError("this is not a URL") from error
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL must not hold a login; use secret references for passwords")
    if parts.scheme != "https":
        raise ValueError(f"{written!r} must begin with https://; the SMP is only ever spoken to over TLS")
    if not parts.hostname or not port_fits or re.search(r"[\s?#\\]", written) or not written.isascii():
        raise ValueError(f"{written!r} is not a plain URL; write https://host, https://host:port or https://host/path")
    if written.endswith("/"):
        raise ValueError("leave out the '/' at the end; the wire profile's paths begin with one")
    return written


def decimal(value: object) -> Decimal:
    """Read an exact number."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"expected a number, found {shown(value)}")  # noqa: TRY004 - pydantic passes on ValueErrors only
    return Decimal(value)


def bits(value: object) -> tuple[int, int]:
    """Read ``[lowest, highest]`` bit, or one bit."""
    found = [value] if isinstance(value, int) else value
    if not isinstance(found, list) or not 1 <= len(found) <= 2 or any(type(bit) is not int for bit in found):
        raise ValueError(f"expected one bit or [lowest, highest], such as [4, 7], found {shown(value)}")
    low, high = found[0], found[-1]
    if not 0 <= low <= high < 64:
        raise ValueError(f"[{low}, {high}] is no lowest and highest of the bits 0..63")
    return low, high


def words(value: object) -> dict[Decimal, str]:
    """Read what each number means."""
    if not isinstance(value, dict) or not value:
        raise ValueError(f"expected words such as {{0: stopped, 1: running}}, found {shown(value)}")
    found = {}
    for number, word in value.items():
        if not re.fullmatch(r"-?[0-9]{1,20}", str(number)):
            raise ValueError(f"{shown(number)} is no whole number; write {{0: stopped, 1: running}}")
        found[Decimal(str(number))] = text(word)
    return found


def scalar(value: object) -> Decimal | bool | str:
    """Read true, false, a number or a text."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | Decimal):
        return Decimal(value)
    raise ValueError(f"expected true, false, a number or a text, found {shown(value)}")


def extent(value: object) -> tuple[Decimal, Decimal]:
    """Read ``[low, high]``."""
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"expected two numbers such as [0, 60], found {shown(value)}")
    low, high = decimal(value[0]), decimal(value[1])
    if low > high:
        raise ValueError(f"the first number must not be the larger one: [{low}, {high}]")
    return low, high


def shown(value: object) -> str:
    """Show a value as the YAML would, cut short; containers by what they are."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return repr(value if len(value) <= 60 else f"{value[:57]}...")
        case _:
            return str(value)


def among(value: object, known: Iterable[str]) -> str:
    """What to say after naming a word that is not known: the likely one, or all there are."""
    names = sorted(known)
    close = difflib.get_close_matches(str(value), names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; available: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else "; there are none"


def text(value: object) -> str:
    """Read text that needs no form."""
    if isinstance(value, str):
        return value
    advice = "; put it in quotes" if isinstance(value, int | Decimal) else ""
    raise ValueError(f"expected text, found {shown(value)}{advice}")


def line(value: object) -> str:
    """Read one line of text that people will read."""
    written = text(value)
    if not written.strip() or not written.isprintable() or len(written) > _LINE_LENGTH:
        raise ValueError(f"{shown(written)} is not one line of 1 to {_LINE_LENGTH} characters")
    return written.strip()


def email(value: object) -> str:
    """Read an e-mail address."""
    written = line(value)
    if not _EMAIL.fullmatch(written):
        raise ValueError(f"{shown(written)} is not an e-mail address, such as smp@host.example")
    return written


def phone(value: object) -> str:
    """Read a telephone number as people write it."""
    written = line(value)
    if not _PHONE.fullmatch(written):
        raise ValueError(f"{shown(written)} is not a telephone number: 5 to 15 digits, such as +44 20 7946 0000")
    return written


_A_TIME = {"type": "string", "pattern": f"^{_TIME.pattern}$"}
Name = Annotated[str, PlainValidator(name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})]
PointName = Annotated[
    str, PlainValidator(point_name), WithJsonSchema({"type": "string", "pattern": f"^{_POINT_NAME.pattern}$"})
]
Text = Annotated[str, PlainValidator(text), WithJsonSchema({"type": "string"})]
Line = Annotated[str, PlainValidator(line), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 100})]
Email = Annotated[str, PlainValidator(email), WithJsonSchema({"type": "string", "pattern": "^[^@ ]+@[^@ ]+$"})]
Phone = Annotated[str, PlainValidator(phone), WithJsonSchema({"type": "string", "pattern": "^[+0-9][0-9 ()/-]+$"})]
Duration = Annotated[
    int, PlainValidator(duration), WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"})
]
Age = Annotated[int, PlainValidator(age), WithJsonSchema({"type": "string", "pattern": f"^{_AGE.pattern}$"})]
Rate = Annotated[float, PlainValidator(rate), WithJsonSchema({"type": "string", "pattern": f"^{_RATE.pattern}$"})]
ListenAddress = Annotated[
    Address, PlainValidator(address), WithJsonSchema({"type": "string", "pattern": "^.+:[0-9]{1,5}$"})
]
HttpsUrl = Annotated[str, PlainValidator(https_url), WithJsonSchema({"type": "string", "pattern": "^https://"})]
ProxyUrl = Annotated[
    str, PlainValidator(proxy_url), WithJsonSchema({"type": "string", "pattern": "^http://[^/]+:[0-9]+$"})
]
Times = Annotated[
    list[time],
    PlainValidator(times),
    WithJsonSchema({"anyOf": [_A_TIME, {"type": "array", "items": _A_TIME, "minItems": 1}]}),
]
TimeZone = Annotated[ZoneInfo, PlainValidator(time_zone), WithJsonSchema({"type": "string"})]
Scalar = Annotated[
    Decimal | bool | str,
    PlainValidator(scalar),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "number"}, {"type": "string"}]}),
]
Bits = Annotated[
    tuple[int, int],
    PlainValidator(bits),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}, "maxItems": 2}]}),
]
Words = Annotated[
    dict[Decimal, str],
    PlainValidator(words),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]
Number = Annotated[Decimal, PlainValidator(decimal), WithJsonSchema({"type": "number"})]
Extent = Annotated[
    tuple[Decimal, Decimal],
    PlainValidator(extent),
    WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}),
]
