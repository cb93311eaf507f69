"""What a site asks for that sends JSON under ids of its own, over MQTT or to our OPC UA server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol, Self

from adapters.modbus.simulator import Result
from adapters.mqtt.simulator import (
    MqttSite,
    PracticeBroker,
    is_spoken,
    payloads_of,
    plain_broker,
    request_topic,
    results_level,
    status_topic,
)
from gateway.cli.practice import free_ports
from gateway.cli.simulate.story import Act, Asked, Told, mpan
from gateway.core import codec
from gateway.core.mailbox import state_code
from gateway.core.mapping import MessageSpec, MessageTrigger
from gateway.core.places import Each, Pick
from gateway.core.point import Value
from gateway.core.transaction import State
from gateway.settings.configuration import SiteConfig

if TYPE_CHECKING:  # asyncua takes a second to import
    from adapters.opcua.simulator import OpcuaEms

_FIGURE = 150  # of whatever else the message asks for


class Carrier(Protocol):
    """How the site's own program reaches the gateway."""

    async def send(self, ident: str, members: Mapping[str, object]) -> None:
        """Send the message; whoever has to keep it has it when this returns."""

    async def next_result(self) -> Mapping[str, object]:
        """Wait for the next result, as JSON members."""

    async def show(self, values: Mapping[str, Value]) -> None:
        """Give points these values.

        Raises:
            ValueError: no such point, or one that cannot hold the value.
        """


class Depot:
    """Sends the requests of one site and hears their results.

    Raises:
        ValueError: the site has no message of its own with one repeated asset.
    """

    def __init__(self, site: SiteConfig, carrier: Carrier, *, first: int) -> None:
        _, _, self._row = own_message(site)
        self._site = site.site
        self._carrier = carrier
        self._numbers = itertools.count(first)
        self._taken = ""
        self._asking = asyncio.Lock()  # no result is told before whoever asked knows that it did

    async def tell(self, act: Act) -> Told:
        """Send one request and return its result; AGAIN before any NEW is a NEW."""
        asked = await self.ask(act)
        while (result := await self.next_result()).for_sequence != asked.sequence:
            continue
        return Told(site=self._site, act=act, sequence=asked.sequence, result=result)

    async def ask(self, act: Act) -> Asked:
        """Send one request."""
        act = Act.NEW if act is Act.AGAIN and not self._taken else act
        return await self._send(act, {}, self._taken if act is Act.AGAIN else "")

    async def ask_for(self, values: Mapping[str, Value]) -> Asked:
        """Send one request whose element has these members, and made-up ones for the others.

        Raises:
            ValueError: the message picks no such member.
        """
        picked = {pick.path.text for _, pick in _picks(self._row.asset)}
        if unknown := ", ".join(sorted(values.keys() - picked)):
            raise ValueError(f"{self._site} picks no member {unknown}; there are {', '.join(sorted(picked))}")
        named = (
            str(values[p.path.text]) for m, p in _picks(self._row.asset) if m == "assetName" and p.path.text in values
        )
        return await self._send(None, values, next(named, ""))

    async def show(self, values: Mapping[str, Value]) -> None:
        """Give points these values; see `Carrier.show`."""
        await self._carrier.show(values)

    async def next_result(self) -> Result:
        """Wait for the next result, whatever asked for it."""
        members = await self._carrier.next_result()
        async with self._asking:
            ident = str(members["id"])
        return _result(int(ident) if ident.isdecimal() else 0, members)

    async def _send(self, act: Act | None, values: Mapping[str, Value], name: str) -> Asked:
        async with self._asking:
            number = next(self._numbers)
            name = name or f"{self._site.upper()} {number}"
            self._taken = name if act is Act.NEW else self._taken
            element = {**dict(self._element(name, valid=act is not Act.TYPO)), **values}
            await self._carrier.send(str(number), {self._row.path.text: [element]})
        return Asked(site=self._site, act=act, sequence=number, name=name)

    def _element(self, name: str, *, valid: bool) -> Iterator[tuple[str, object]]:
        """One element of the list, with whatever the template picks of it."""
        for member, pick in _picks(self._row.asset):
            made = {"assetName": name, "id": mpan(self._row.asset, valid=valid)}
            yield pick.path.text, made.get(member, _FIGURE)


class MqttCarrier:
    """A site's client of a broker."""

    def __init__(self, site: SiteConfig, client: MqttSite) -> None:
        spec, trigger, _ = own_message(site)
        self._link = link = site.connections[trigger.connection].config
        self._client = client
        self._topic, self._id = request_topic(link, spec.name)
        self._results = results_level(link, spec.name)
        self._status = status_topic(link)
        self._heard = 0

    async def send(self, ident: str, members: Mapping[str, object]) -> None:
        """See `Carrier`."""
        if self._status is not None:  # before its first connect the gateway has no session that keeps messages for it
            await self._client.hears(self._status, lambda heard: heard.payload == b"online")
        await self._client.publish(self._topic, codec.dumps({self._id: ident, **members}))

    async def next_result(self) -> Mapping[str, object]:
        """See `Carrier`."""
        self._heard, heard = await self._client.hears_below(self._results, self._heard)
        return heard.json

    async def show(self, values: Mapping[str, Value]) -> None:
        """See `Carrier`."""
        for topic, payload in payloads_of(self._link, values).items():
            await self._client.publish(topic, payload)


class EmsCarrier:
    """A site's client of the gateway's own OPC UA server."""

    def __init__(self, site: SiteConfig, ems: OpcuaEms) -> None:
        self._message = own_message(site)[0].name
        self._ems = ems

    async def send(self, ident: str, members: Mapping[str, object]) -> None:
        """See `Carrier`."""
        await self._ems.submit(self._message, ident, codec.dumps(members).decode())

    async def next_result(self) -> Mapping[str, object]:
        """See `Carrier`."""
        return await self._ems.next_result()

    async def show(self, values: Mapping[str, Value]) -> None:
        """See `Carrier`."""
        await self._ems.show(values)


class PracticeDepot:
    """Such a site as `simulate site` runs it, with a broker of its own where it needs one; ``async with`` starts it.

    With ``join`` it uses the broker that the YAML names instead.

    Raises:
        ValueError: the site has no such message, or speaks what cannot be practised.
    """

    def __init__(self, site: SiteConfig, host: str, port: int, *, first: int, join: bool = False) -> None:
        _, trigger, _ = own_message(site)
        self._link = site.connections[trigger.connection]
        self._site = site
        self._own_broker = self._link.protocol == "mqtt" and not join
        if self._own_broker and not is_spoken(self._link.config):
            raise ValueError(
                f"{site.site}: the practice broker speaks MQTT 3.1.1 without TLS only, which the site does not; "
                "with --join the broker that its YAML names is used"
            )
        self.host = host
        self.port = port or free_ports(1)[0]
        if self._link.protocol == "mqtt" and join:
            self.host, self.port = plain_broker(self._link.config)
        self._first = first
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._own_broker:
            await self._stack.enter_async_context(PracticeBroker(self.port, self.host))
        self._depot = Depot(self._site, await self._carrier(), first=self._first)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def ask(self, act: Act) -> Asked:
        """Send one request; see `Depot.ask`."""
        return await self._depot.ask(act)

    async def ask_for(self, values: Mapping[str, Value]) -> Asked:
        """Send one request of one's own; see `Depot.ask_for`."""
        return await self._depot.ask_for(values)

    async def show(self, values: Mapping[str, Value]) -> None:
        """Give points these values; see `Carrier.show`."""
        await self._depot.show(values)

    async def acknowledged(self, sequence: int) -> None:
        """Return at once: whoever keeps the message has it before `ask` returns."""

    async def next_result(self) -> Result:
        """Wait for the next result."""
        return await self._depot.next_result()

    async def _carrier(self) -> Carrier:
        if self._link.protocol == "mqtt":
            client = MqttSite.connected(self.host, self.port, listen=("#",))
            return MqttCarrier(self._site, await self._stack.enter_async_context(client))
        from adapters.opcua.simulator import OpcuaEms  # noqa: PLC0415 - asyncua takes a second to import

        ems = OpcuaEms(self._link.config)
        self.host, self.port = ems.host, ems.port
        return EmsCarrier(self._site, await self._stack.enter_async_context(ems))


def own_message(site: SiteConfig) -> tuple[MessageSpec, MessageTrigger, Each]:
    """The first message that the site sends itself, and the asset that is repeated in it.

    Raises:
        ValueError: there is none.
    """
    for spec in site.messages.values():
        assets = spec.template.get("assets")
        rows = [row for row in assets if isinstance(row, Each)] if isinstance(assets, list) else []
        if isinstance(spec.trigger, MessageTrigger) and rows:
            return spec, spec.trigger, rows[0]
    raise ValueError(f"{site.site} has no message of its own with a repeated asset")


def _result(number: int, members: Mapping[str, object]) -> Result:
    """The result as the story's summary shows it, whatever protocol it came by."""
    errors = members.get("errors")
    listed = errors if isinstance(errors, list) else []
    first = listed[0] if listed else {}
    row = f"row {first['row']} " if first.get("row") is not None else ""
    text = f"{row}{first.get('field') or first.get('code')}: {first['message']}" if first else ""
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
