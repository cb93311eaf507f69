"""The control socket: who may connect, what stands in its way, what hostile bytes do, and what is said then."""

from __future__ import annotations

import asyncio
import io
import os
import pwd
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.control import Answer, Nothing, Operation, Order
from gateway.edge.control import control_server
from gateway.edge.control_client import ControlClient
from gateway.edge.control_socket import listening, reachable
from gateway.errors import ControlBlocked, ControlRefused, ControlUnreachable, JournalBroken, JournalFull
from gateway.flow.desk import Desk
from gateway.ports import Call


class Greeting(Order):
    name: str


class Greeted(Answer):
    said: str


GREET = Operation(method="POST", path="/v1/greetings/{place}", order=Greeting, answer=Greeted)
ABSENT = Operation(method="GET", path="/v1/absent", order=Nothing, answer=Greeted)


async def greet(call: Call) -> Greeted:
    assert isinstance(call.order, Greeting)
    return Greeted(said=f"{call.actor} says {call.order.name} at {call.parameters['place']}")


class Place:
    """One folder with a control socket."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "control.sock"
        self.events: list[tuple[str, dict[str, object]]] = []
        self.broken: list[JournalBroken] = []

    def event(self, name: str, **fields: object) -> None:
        self.events.append((name, fields))

    def serve(self, handler: Callable[[Call], Awaitable[Answer]] = greet) -> AbstractAsyncContextManager[None]:
        return control_server(self.path, {GREET: handler}, event=self.event, broken=self.broken.append)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[ControlClient]:
        async with ControlClient.open(self.path) as client:
            yield client


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def me() -> str:
    return f"operator:{pwd.getpwuid(os.getuid()).pw_name}"


async def test_the_kernel_says_who_asks(place: Place) -> None:
    """The actor is the connecting process's user; parameters and members arrive as they were given."""
    async with place.serve(), place.client() as client:
        answer = await client.ask(GREET, Greeting(name="hé/llo"), place="a/b c?ü")
    assert answer.said == f"{me()} says hé/llo at a/b c?ü"


async def test_the_desk_answers_like_the_socket() -> None:
    """Without a gateway the same operation is answered in the own process, and what needs one says so."""
    desk = Desk({GREET: greet}, "operator:alice")
    assert (await desk.ask(GREET, Greeting(name="hello"), place="home")).said == "operator:alice says hello at home"
    with pytest.raises(ControlRefused) as refused:
        await desk.ask(ABSENT, Nothing())
    assert refused.value.code == "needs_gateway"


async def test_nobody_else_may_connect(place: Place) -> None:
    """The socket has mode 0600 while it listens, and is gone afterwards."""
    async with place.serve():
        found = place.path.stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o600
    assert not place.path.exists()


async def test_a_long_path_is_reached_all_the_same(tmp_path: Path) -> None:
    """Longer than a unix socket's address may be: served, reached, removed."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    place = Place(folder)
    async with place.serve(), place.client() as client:
        assert (await client.ask(GREET, Greeting(name="n"), place="p")).said.endswith("says n at p")
    assert not place.path.exists()


async def test_a_dead_gateways_socket_is_taken_over(place: Place) -> None:
    """A socket that nobody listens on any more does not keep the next gateway from listening."""
    with socket.socket(socket.AF_UNIX) as dead, reachable(place.path) as address:
        dead.bind(address)
        dead.listen()
    async with place.client() as client:
        with pytest.raises(ControlUnreachable):
            await client.ask(GREET, Greeting(name="n"), place="p")
    async with place.serve(), place.client() as client:
        assert (await client.ask(GREET, Greeting(name="n"), place="p")).said


async def test_a_second_gateway_does_not_take_a_living_ones_socket(place: Place) -> None:
    """While one listens another is refused, and the first goes on answering."""
    async with place.serve():
        with pytest.raises(ControlBlocked, match=str(os.getpid())), listening(place.path):
            pass
        async with place.client() as client:
            assert (await client.ask(GREET, Greeting(name="n"), place="p")).said


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_nothing_but_a_socket_is_removed(place: Place, kind: str) -> None:
    """A file, a link to one or a folder in the socket's place stays as it is, and is named."""
    precious = place.path.with_name("precious")
    precious.write_text("keep")
    if kind == "file":
        place.path.write_text("keep")
    elif kind == "link":
        place.path.symlink_to(precious)
    else:
        place.path.mkdir()
    with pytest.raises(ControlBlocked, match=r"control\.sock is not a socket"), listening(place.path):
        pass
    assert os.path.lexists(place.path)
    assert precious.read_text() == "keep"


async def test_a_folder_that_everybody_may_write_to_is_refused(place: Place) -> None:
    """Somebody could put a socket of their own there."""
    place.path.parent.chmod(0o777)
    with pytest.raises(ControlBlocked, match="chmod o-w"), listening(place.path):
        pass
    place.path.parent.chmod(0o700)


async def test_no_gateway_is_told_apart_from_one_that_refuses(place: Place) -> None:
    """No socket, no folder: ControlUnreachable with the path."""
    async with place.client() as client:
        with pytest.raises(ControlUnreachable, match=r"control\.sock"):
            await client.ask(GREET, Greeting(name="n"), place="p")
    with pytest.raises(ControlUnreachable, match="no gateway runs here"):
        async with ControlClient.open(place.path.parent / ("y" * 120) / "control.sock"):
            pass


@pytest.mark.parametrize(
    ("error", "status", "code", "blame"),
    [
        (ControlRefused("wrong_state", "it is awaiting", advice="wait"), 409, "wrong_state", "caller"),
        (ControlRefused("not_found", "none"), 404, "not_found", "caller"),
        (JournalFull("full"), 507, "journal_full", "gateway"),
        (JournalBroken("broken"), 503, "journal_broken", "gateway"),
        (ZeroDivisionError("secret"), 500, "internal", "gateway"),
    ],
)
async def test_what_is_not_done_is_a_problem(
    place: Place, error: Exception, status: int, code: str, blame: str
) -> None:
    """Each error has its status and says whose fault it is; details of our own faults stay in the log."""

    async def fail(_call: Call) -> Answer:
        raise error

    async with place.serve(fail), place.client() as client, raw(place) as session:
        with pytest.raises(ControlRefused) as refused:
            await client.ask(GREET, Greeting(name="n"), place="p")
        async with session.post("http://gateway/v1/greetings/p", data=b'{"name":"n"}') as reply:
            problem = await reply.json(content_type="application/problem+json")
    assert (reply.status, problem["code"], problem["blame"]) == (status, code, blame)
    assert (refused.value.code, refused.value.blame) == (code, blame)
    assert "secret" not in str(problem)
    assert ([name for name, _ in place.events] == ["handler_faulted", "handler_faulted"]) is (code == "internal")
    assert bool(place.broken) is (code == "journal_broken")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/greetings/p", b"", 422, "invalid"),
        ("POST", "/v1/greetings/p", b"{", 400, "not_json"),
        ("POST", "/v1/greetings/p", b'{"name":1}', 422, "invalid"),
        ("POST", "/v1/greetings/p", b'{"name":"n","nmae":"n"}', 422, "invalid"),
        ("GET", "/v1/greetings/p", b"", 404, "no_such_operation"),
        ("POST", "/v2/greetings/p", b'{"name":"n"}', 404, "no_such_operation"),
        ("POST", "/v1/greetings/p", b'"' + b"x" * (9 << 20), 413, "too_large"),
    ],
)
async def test_a_wrong_request_says_what_is_wrong(  # noqa: PLR0917 -- one row of the table
    place: Place, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    """Not JSON, an unknown or missing member, another path or method, too much: a problem each, the caller's fault."""
    async with (
        place.serve(),
        raw(place) as session,
        session.request(method, f"http://gateway{path}", data=io.BytesIO(body)) as reply,
    ):
        problem = await reply.json(content_type="application/problem+json")
    assert (reply.status, problem["code"], problem["blame"]) == (status, code, "caller")
    assert problem["next"]


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5))
def test_hostile_bytes_harm_nobody(pieces: list[bytes]) -> None:
    """Whatever is sent instead of HTTP, the next caller is answered."""

    async def story(place: Place) -> None:
        async with place.serve():
            with reachable(place.path) as address:
                _, writer = await asyncio.open_unix_connection(address)
            for piece in pieces:
                writer.write(piece)
            writer.write_eof()
            async with place.client() as client:
                assert (await client.ask(GREET, Greeting(name="n"), place="p")).said
            writer.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(story(Place(Path(folder))))


@asynccontextmanager
async def raw(place: Place) -> AsyncIterator[aiohttp.ClientSession]:
    with reachable(place.path) as address:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=address)) as session:
            yield session
