"""What a simulated site asks for over MQTT: the acts of the story, as messages under ids of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from adapters.modbus.simulator import Result
from adapters.mqtt.simulator import MqttSite, request_topic, status_topic
from gateway.cli.simulate.story import Act, Told, mpan
from gateway.core.mailbox import state_code
from gateway.core.mapping import MessageTrigger
from gateway.core.places import Each, Pick
from gateway.core.transaction import State
from gateway.settings.configuration import SiteConfig

_FIGURE = 150  # of whatever else the message asks for


class Depot:
    """Publishes the requests of one site and waits for their results.

    Raises:
        ValueError: the site has no message of its own with one repeated asset.
    """

    def __init__(self, site: SiteConfig, client: MqttSite, *, first: int) -> None:
        own = [spec for spec in site.messages.values() if isinstance(spec.trigger, MessageTrigger)]
        assets = own[0].template.get("assets") if own else None
        rows = [row for row in assets if isinstance(row, Each)] if isinstance(assets, list) else []
        if not rows or not isinstance(own[0].trigger, MessageTrigger):
            raise ValueError(f"{site.site} has no message of its own with a repeated asset")
        self._row = rows[0]
        self._site = site.site
        self._client = client
        link = site.connections[own[0].trigger.connection].config
        self._topic, self._id = request_topic(link, own[0].name)
        self._status = status_topic(link)
        self._numbers = itertools.count(first)
        self._taken = ""

    async def tell(self, act: Act) -> Told:
        """Publish one request and return its result; AGAIN before any NEW is a NEW."""
        if self._status is not None:  # before its first connect the gateway has no session that keeps messages for it
            await self._client.hears(self._status, lambda heard: heard.payload == b"online")
        number = next(self._numbers)
        act = Act.NEW if act is Act.AGAIN and not self._taken else act
        name = self._taken if act is Act.AGAIN else f"{self._site.upper()} {number}"
        self._taken = name if act is Act.NEW else self._taken
        element = dict(self._element(name, valid=act is not Act.TYPO))
        await self._client.publish(self._topic, {self._id: str(number), self._row.path.text: [element]})
        heard = await self._client.hears(f"{self._topic.rpartition('/')[0]}/result/{number}")
        return Told(site=self._site, act=act, sequence=number, result=_result(number, heard.json))

    def _element(self, name: str, *, valid: bool) -> Iterator[tuple[str, object]]:
        """One element of the list, with whatever the template picks of it."""
        for member, pick in _picks(self._row.asset):
            made = {"assetName": name, "id": mpan(self._row.asset, valid=valid)}
            yield pick.path.text, made.get(member, _FIGURE)


def _result(number: int, members: Mapping[str, object]) -> Result:
    """The result as the story's summary shows it, whatever protocol it came by."""
    errors = members.get("errors")
    listed = errors if isinstance(errors, list) else []
    text = f"row {listed[0]['row']} {listed[0]['field']}: {listed[0]['message']}" if listed else ""
    code = state_code(State(str(members["state"])))
    return Result(for_sequence=number, result_seq=number, state=code, error_count=len(listed), text=text)


def _picks(node: object, member: str = "") -> Iterator[tuple[str, Pick]]:
    if isinstance(node, Pick):
        yield member, node
    elif isinstance(node, Mapping):
        for name, value in node.items():
            yield from _picks(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _picks(value, member)
