"""The worked example of adapters/README.md, as it stands there: found like any adapter, and held to the contract."""

from __future__ import annotations

import asyncio
import importlib
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Self

import pytest

from adapters.contract import ReachedContract, SessionContract
from gateway.app import adapters
from gateway.core.point import Access, PointSpec
from gateway.ports import Adapter, AdapterSpec, ConnectionConfig, Resources
from gateway.settings.configuration import load
from gateway.settings.example import example_configuration
from tests.adapters.fault_proxy import FaultProxy
from tests.adapters.modbus.rig import CountingClock, NoEntropy

README = Path(__file__).parents[3] / "adapters" / "README.md"
SITE = """\
site: acme
participant: exstor
connections: {lines: {protocol: lines, host: 127.0.0.1, port: 7000}}
points: {level: {connection: lines, name: LEVEL}}
"""


def blocks(language: str) -> list[str]:
    """The code of the example."""
    (example,) = re.findall(r"\n## A worked example\n(.*?)\n## ", README.read_text("utf-8"), re.DOTALL)
    return re.findall(rf"```{language}\n(.*?)```", example, re.DOTALL)


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example, installed as somebody else's package would be."""
    home = tmp_path / "site-packages"
    metadata = home / "acme_lines-1.0.dist-info"
    metadata.mkdir(parents=True)
    (home / "acme_lines.py").write_text(blocks("python")[0], "utf-8")
    (group, line) = blocks("toml")[0].strip().splitlines()
    name = re.search('"(.*)"', group)
    assert name is not None
    (metadata / "entry_points.txt").write_text(f"[{name[1]}]\n{line.replace(chr(34), '')}\n", "utf-8")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-lines\nVersion: 1.0\n", "utf-8")
    monkeypatch.syspath_prepend(home)
    yield importlib.import_module("acme_lines")
    sys.modules.pop("acme_lines", None)


class LinesSite:
    """A site that speaks the made-up protocol, behind a proxy that can be silent and vanish."""

    def __init__(self, spec: AdapterSpec) -> None:
        self._spec = spec
        self._values = {"LEVEL": "0", "STATE": "0"}
        self._server: asyncio.Server | None = None
        self._proxy: FaultProxy | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1")
        self._proxy = FaultProxy("127.0.0.1", self._server.sockets[0].getsockname()[1])
        await self._proxy.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._proxy is not None and self._server is not None:
            await self._proxy.close()
            self._server.close()

    @property
    def proxy(self) -> FaultProxy:
        assert self._proxy is not None
        return self._proxy

    def adapter(self) -> Adapter:
        places = {"level": ("LEVEL", Access.READ), "smp_state": ("STATE", Access.WRITE)}
        config = ConnectionConfig(
            site="acme",
            name="lines",
            settings=self._spec.connection_model.model_validate({"host": "127.0.0.1", "port": self.proxy.port}),
            points={
                name: (
                    PointSpec(name=name, connection="lines", access=access, scale=Decimal(1)),
                    self._spec.point_model.model_validate({"name": place}),
                )
                for name, (place, access) in places.items()
            },
            mailboxes={},
        )
        resources = Resources(clock=CountingClock(), entropy=NoEntropy(), event=lambda *_, **__: None, secret=_none)
        return self._spec.build(config, resources)

    async def change(self, level: int) -> None:
        self._values["LEVEL"] = str(level)

    async def state(self) -> int:
        return int(self._values["STATE"])

    def silence(self) -> None:
        self.proxy.freeze()

    async def vanish(self) -> None:
        await self.proxy.vanish()

    async def come_back(self) -> None:
        await self.proxy.open()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().strip():
            name, wanted, value = line.partition("=")
            if wanted:
                self._values[name] = value
            writer.write((("ok" if wanted else self._values[name]) + "\n").encode())
        writer.close()


def _none(_: object) -> bytes:
    return b""


class TestWorkedExample(SessionContract, ReachedContract):
    """The contract, on the code that stands in the README."""

    @pytest.fixture
    async def plant(self, acme: ModuleType) -> AsyncIterator[LinesSite]:
        async with LinesSite(acme.spec) as site:
            yield site


def test_the_tests_of_the_example_are_these() -> None:
    """The README shows which classes hold it."""
    (shown,) = blocks("python")[1:]
    assert shown.startswith("class TestLines(SessionContract, ReachedContract):")


def test_somebody_elses_protocol_may_stand_in_a_site(acme: ModuleType, tmp_path: Path) -> None:
    """Found by its entry point, and its YAML is checked with the adapter's own models."""
    assert adapters()["lines"] is acme.spec
    folder = shutil.copytree(example_configuration(), tmp_path / "config")
    (folder / "sites" / "acme.yaml").write_text(SITE, "utf-8")
    site = load(folder / "gateway.yaml", adapters=adapters(), state=folder, environ={}).sites["acme"]
    assert site.connections["lines"].config.settings == acme.LinesConnection(host="127.0.0.1", port=7000)
