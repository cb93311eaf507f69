"""One session with one OPC UA server: a fresh client per connection, finished for good at the first sign of trouble.

Rules
-----
* asyncua never reconnects here, and nothing of one connection is used in the next: repeating is decided by those who
  know what is safe to repeat.
* Every call is bounded in time, connecting and leaving included; after a time-out the connection is closed.
* The server's certificate is judged before a password or a request leaves (adapters/opcua/trust.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from asyncua import Client, ua
from asyncua.crypto import security_policies

from adapters.opcua.addresses import NodeAddress
from adapters.opcua.config import NO_SECURITY, OpcuaConnection
from adapters.opcua.trust import Validator, application_uri, certificate_form, certificates, user_certificate, user_key
from gateway.errors import LinkLost, SecretError
from gateway.ports import Resources

# asyncua logs whole messages and tracebacks where nobody listens; what matters is in our own errors.
logging.getLogger("asyncua").addHandler(logging.NullHandler())

T = TypeVar("T")

_SECOND = 1_000_000  # µs
_FAREWELL_S = 1.0  # for a server that may be gone already
_SESSION_MS = 60_000  # how long a server keeps our session, and its subscriptions, without hearing of us
_NODES_PER_CALL = 500  # below the operation limits that small servers have
# What asyncua raises of a server that cannot be understood: its decoder checks little and lets Python complain.
_UNREADABLE = (
    ua.UaError,
    OSError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Line:
    """A connection to one server; made by :meth:`open`, ended by :meth:`close` or by the first LinkLost."""

    def __init__(self, settings: OpcuaConnection, resources: Resources) -> None:
        self._settings = settings
        self._resources = resources
        self._timeout_s = settings.timeout / _SECOND
        self._lost: str | None = None
        self.stirred = asyncio.Event()  # set when there may be something to look at, the end included
        self._client = Client(
            settings.endpoint, timeout=self._timeout_s, watchdog_intervall=self._timeout_s, auto_reconnect=False
        )
        self._client.session_timeout = _SESSION_MS
        self._client.connection_lost_callback = self._on_lost

    async def open(self) -> None:
        """Connect, and log in.

        Raises:
            LinkLost: nobody answers there, or not whom we trust, or one of us does not accept the other.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._secure()
                await _plainly(self._client.connect)
        except TimeoutError as error:
            raise self.lose(f"{self._settings.endpoint} did not answer in time") from error
        except SecretError as error:
            raise self.lose(str(error)) from error
        except _UNREADABLE as error:
            raise self.lose(f"{self._settings.endpoint} cannot be reached: {_said(error)}") from error

    async def close(self) -> None:
        """End the session and the connection; safe to repeat."""
        self.lose(f"{self._settings.endpoint} was closed here")
        with contextlib.suppress(TimeoutError, *_UNREADABLE):
            async with asyncio.timeout(_FAREWELL_S):
                await self._client.disconnect()
        self._client.disconnect_socket()

    def now(self) -> int:
        """µs UTC, as answers are stamped."""
        return self._resources.clock.now()

    def check(self) -> None:
        """Go on only while the connection lives.

        Raises:
            LinkLost: it does not.
        """
        if self._lost is not None:
            raise LinkLost(self._lost)

    async def resolve(self, addresses: Sequence[NodeAddress]) -> list[ua.NodeId | None]:
        """The nodes of these addresses on this server; None where it does not know the namespace.

        Raises:
            LinkLost: the connection is gone.
        """
        names: list[str] = []
        if any(isinstance(address.namespace, str) for address in addresses):
            names = list(await self._ask(self._client.get_namespace_array))
        return [_node_id(address, names) for address in addresses]

    async def read(
        self, nodes: Sequence[ua.NodeId], attribute: ua.AttributeIds = ua.AttributeIds.Value
    ) -> tuple[list[ua.DataValue], int]:
        """Read an attribute of each node, from its source; also when the last answer arrived, in µs UTC.

        Raises:
            LinkLost: no answer, or none that can be understood.
        """
        found: list[ua.DataValue] = []
        for some in _portions(nodes):
            answers = await self._ask(partial(self._client.uaclient.read_attributes, some, attribute))
            found += self._complete(answers, some)
        return found, self.now()

    async def write(self, values: Sequence[tuple[ua.NodeId, ua.Variant]]) -> list[int]:
        """Write values, without time stamps, which many servers refuse; the answer is a status code for each.

        Raises:
            LinkLost: no answer; what was written is unknown.
        """
        statuses: list[int] = []
        for some in _portions(values):
            nodes = [node for node, _ in some]
            data = [ua.DataValue(variant) for _, variant in some]
            call = partial(self._client.uaclient.write_attributes, nodes, data, ua.AttributeIds.Value)
            await self._resources.still_ours()
            statuses += [status.value for status in self._complete(await self._ask(call), some)]
        return statuses

    async def subscribe(
        self, parameters: ua.CreateSubscriptionParameters, callback: Callable[[ua.PublishResult], None]
    ) -> ua.CreateSubscriptionResult:
        """Create a subscription; every publish answer goes to ``callback``, also one that only says "still here".

        Raises:
            LinkLost: the server makes none.
        """
        return await self._ask(lambda: self._client.uaclient.create_subscription(parameters, callback))

    async def watch(
        self, subscription: int, items: Sequence[ua.MonitoredItemCreateRequest]
    ) -> list[ua.MonitoredItemCreateResult]:
        """Add items to a subscription; the answer says of each whether the server does it.

        Raises:
            LinkLost: no answer.
        """
        made: list[ua.MonitoredItemCreateResult] = []
        for some in _portions(items):
            parameters = ua.CreateMonitoredItemsParameters()
            parameters.SubscriptionId = subscription
            parameters.ItemsToCreate = some
            parameters.TimestampsToReturn = ua.TimestampsToReturn.Neither
            answers = await self._ask(partial(self._client.uaclient.create_monitored_items, parameters))
            made += self._complete(answers, some)
        return made

    async def call(self, called: ua.NodeId, method: ua.NodeId, arguments: Sequence[ua.Variant]) -> ua.CallMethodResult:
        """Call a method of an object, once.

        Raises:
            LinkLost: no answer; whether it ran is unknown.
        """
        request = ua.CallMethodRequest(ObjectId=called, MethodId=method, InputArguments=list(arguments))
        await self._resources.still_ours()
        (answer,) = self._complete(await self._ask(partial(self._client.uaclient.call, [request])), [request])
        return answer

    async def property_of(self, node: ua.NodeId, name: str) -> ua.DataValue | None:
        """The value of a standard property of a node, such as InputArguments; None where it has none.

        Raises:
            LinkLost: the connection is gone.
        """
        step = ua.RelativePathElement()
        step.ReferenceTypeId = standard(ua.ObjectIds.HasProperty)
        step.IsInverse = False  # type: ignore[assignment]  # asyncua's own boolean type
        step.TargetName = ua.QualifiedName(name, 0)
        path = ua.BrowsePath(StartingNode=node, RelativePath=ua.RelativePath(Elements=[step]))
        call = partial(self._client.uaclient.translate_browsepaths_to_nodeids, [path])
        (found,) = self._complete(await self._ask(call), [path])
        if not found.StatusCode.is_good() or not found.Targets:
            return None
        (value,), _ = await self.read([found.Targets[0].TargetId])
        return value

    def lose(self, reason: str) -> LinkLost:
        """End everything, once; the first reason stands."""
        if self._lost is None:
            self._lost = reason
            self.stirred.set()
        return LinkLost(self._lost)

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        self.check()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await _plainly(call)
        except TimeoutError as error:
            raise self.lose(f"{self._settings.endpoint} did not answer in time") from error
        except _UNREADABLE as error:
            raise self.lose(f"{self._settings.endpoint}: {_said(error)}") from error

    def _complete(self, answers: Sequence[T], asked: Sequence[object]) -> Sequence[T]:
        if len(answers or ()) != len(asked):
            raise self.lose(f"{self._settings.endpoint} answered {len(answers or ())} of {len(asked)} questions")
        return answers

    async def _secure(self) -> None:
        """Set what we show and what we trust; secrets are read anew, so that a renewed certificate counts."""
        here, secret = self._settings, self._resources.secret
        if here.security != NO_SECURITY and here.certificate and here.key and here.trust:
            policy, _, mode = here.security.partition("/")
            ours = certificates(secret(here.certificate), str(here.certificate))[0]
            self._client.application_uri = application_uri(ours, str(here.certificate))
            self._client.certificate_validator = Validator(certificates(secret(here.trust), str(here.trust)), self.now)
            await self._client.set_security(
                getattr(security_policies, f"SecurityPolicy{policy}"),
                certificate_form(secret(here.certificate)),
                certificate_form(secret(here.key)),
                mode=ua.MessageSecurityMode[mode],
            )
        if here.username is not None and here.password is not None:
            self._client.set_user(here.username)
            self._client.set_password(secret(here.password).decode("utf-8").rstrip("\r\n"))
        if here.user_certificate is not None and here.user_key is not None:
            self._client.user_certificate = user_certificate(secret(here.user_certificate), str(here.user_certificate))
            self._client.user_private_key = user_key(secret(here.user_key), str(here.user_key))

    async def _on_lost(self, error: Exception) -> None:
        self.lose(f"{self._settings.endpoint} closed the connection or stopped answering ({_said(error)})")


async def _plainly(call: Callable[[], Awaitable[T]]) -> T:
    """Call the library; its own kind of cancellation (before Python 3.12) would be an error to timeouts and groups."""
    try:
        return await call()
    except asyncio.CancelledError as cancelled:
        if type(cancelled) is asyncio.CancelledError:
            raise
        raise asyncio.CancelledError from cancelled


def standard(number: int) -> ua.NodeId:
    """A node that every server has."""
    return ua.NodeId(ua.Int32(number))


def _node_id(address: NodeAddress, names: Sequence[str]) -> ua.NodeId | None:
    if isinstance(address.namespace, str) and address.namespace not in names:
        return None
    index = address.namespace if isinstance(address.namespace, int) else names.index(address.namespace)
    return ua.NodeId(address.identifier, index)  # type: ignore[arg-type]  # asyncua's own integer and text types


def _portions(items: Sequence[T]) -> Iterator[list[T]]:
    for first in range(0, len(items), _NODES_PER_CALL):
        yield list(items[first : first + _NODES_PER_CALL])


def _said(error: BaseException) -> str:
    """One line of what a library had to say."""
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
