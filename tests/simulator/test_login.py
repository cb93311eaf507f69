"""Authenticate, and what a token is good for."""

from __future__ import annotations

from gateway.simulator import SimulatedSmp
from tests.simulator.partners import Client, Connect, Start, asset, create


async def test_a_login_gives_a_token_with_its_life(client: Client) -> None:
    """Pins the answer's members and that the life is the configured one."""
    answer = await client.login()
    assert (answer.status, answer.body["expiresIn"]) == (200, 1800)
    assert answer.body["token"].count(".") == 2


async def test_a_wrong_password_gets_401_and_no_token(client: Client) -> None:
    """Pins that a wrong password, and an account without a password file, are refused alike."""
    wrong = await client.login("battery staple")
    (client.smp.state / "secrets" / "exstor.password").unlink()
    absent = await client.login()
    assert wrong.status == absent.status == 401
    assert wrong.body == absent.body
    assert "token" not in wrong.body


async def test_without_a_good_token_nothing_is_looked_at(client: Client) -> None:
    """Pins that a well-signed submission without, or with a forged, token is 401 and leaves no trace."""
    good = client.token
    for token in ("", "nonsense", good[:-4] + "AAAA"):
        client.token = token
        assert (await client.send("/assets", create(asset("A")))).status == 401
    assert client.smp.ledger.arrivals() == []


async def test_an_expired_token_is_refused(start: Start, connect: Connect) -> None:
    """Pins that the SMP itself looks at exp."""
    async with start(token_life_s=0) as smp, connect(smp) as client:
        answer = await client.send("/assets", create(asset("A")))
    assert (answer.status, answer.body["errors"][0]["code"]) == (401, "TOKEN_EXPIRED")


async def test_a_token_does_not_open_another_participants_door(smp: SimulatedSmp, connect: Connect) -> None:
    """Pins that token and signing key must belong to the same participant."""
    async with connect(smp, "exstor") as storage, connect(smp, "exflex") as flexibility:
        storage.token = flexibility.token
        answer = await storage.send("/assets", create(asset("A")))
    assert (answer.status, answer.body["errors"][0]["code"]) == (403, "FOREIGN_KEY")
