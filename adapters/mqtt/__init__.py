"""MQTT, client role: messages of the site's own under its own ids, readings, results, and writes."""

from __future__ import annotations

from adapters.mqtt.config import MqttConnection, MqttPoint, MqttTrigger
from adapters.mqtt.contradictions import contradictions
from gateway.ports import Adapter, AdapterSpec, ConnectionConfig, Resources


def _build(config: ConnectionConfig, resources: Resources) -> Adapter:
    from adapters.mqtt.client import MqttAdapter  # noqa: PLC0415 - so that reading a configuration needs no aiomqtt

    return MqttAdapter(config, resources)


spec = AdapterSpec(
    protocol="mqtt",
    connection_model=MqttConnection,
    point_model=MqttPoint,
    mailbox_layouts=frozenset(),
    build=_build,
    trigger_model=MqttTrigger,
    contradictions=contradictions,
)
