"""What a broker's reason codes mean, for people (MQTT 5.0 section 2.4)."""

from __future__ import annotations

from collections.abc import Mapping

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

_REFUSED = 0x80  # codes from here on are failures
# Reason codes of MQTT 5.0 section 3.14.2.1 that want more words; the library takes 0x80 where the broker gave none.
_ENDS: Mapping[int | None, str] = {
    0x80: "the broker closed the connection, as it does also when another client connects under our client id",
    0x8E: "another client took over our client id; give one of them another client_id",
}


def _code(rc: object) -> int | None:
    return rc.value if isinstance(rc, ReasonCode) else rc if isinstance(rc, int) else None


def refused(code: int) -> bool:
    """Whether a reason code is a refusal."""
    return code >= _REFUSED


def reason_text(code: int, packet: int) -> str:
    """A reason code in words."""
    try:
        return str(ReasonCode(packet, identifier=code))
    except (KeyError, ValueError):
        return f"reason code {code}"


def ending(error: BaseException | None) -> str:
    """Why a connection ended, in words."""
    if isinstance(error, aiomqtt.MqttCodeError) and (said := _ENDS.get(_code(error.rc))) is not None:
        return said
    cause = error.__cause__ if error is not None and error.__cause__ is not None else error
    return "the connection was closed" if cause is None else (str(cause) or type(cause).__name__)
