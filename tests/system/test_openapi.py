"""The callback listener does what its OpenAPI document says, whoever asks and whatever they send."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core import NotSet
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.settings.example import example_configuration
from tests.system.rig import World, world
from tests.system.test_callbacks import sign

DOCUMENT = example_configuration() / "schema" / "callbacks.openapi.json"


async def test_schemathesis_as_a_stranger(tmp_path: Path) -> None:
    """The tool itself with every check, a fixed seed and no key: nothing but documented refusals, nothing stored."""
    async with world(tmp_path) as here, here.gateway() as running:
        process = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(_config(tmp_path))),
            *("run", str(DOCUMENT), "--url", f"https://127.0.0.1:{running.gateway.callback_port}"),
            *("--tls-verify", str(here.state / "pki" / "host-ca.pem"), "--no-color"),
            *("--seed", "20261125", "--generation-deterministic", "--max-examples", "10", "--mode", "all"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
    assert here.events("callback_refused")
    assert not here.events("callback_received")
    assert not here.events("handler_faulted")


async def test_schemathesis_as_the_smp(tmp_path: Path) -> None:
    """Generated callbacks, each well signed: every answer is documented, and none is a fault; kept ones are kept."""
    async with world(tmp_path) as here, here.gateway() as running:
        answers = await asyncio.to_thread(_call, here, running.gateway.callback_port)
    assert set(answers) <= {200, 401, 403, 422}
    assert answers[200] >= 5  # other message types, and verdicts that nobody waits for
    assert answers[403] >= 5
    assert answers[422] >= 5
    assert len(here.events("callback_received")) == answers[200] + answers[422]
    assert not here.events("handler_faulted")


_KNOWN: list[dict[str, str]] = [
    {},
    {"participant": "exstor"},
    {"participant": "exstor", "messageType": "TransactionResult"},
    {"participant": "exstor", "messageType": "TransactionResult", "transactionId": "TX-1", "status": "Success"},
]
_CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


def _cases(operation: APIOperation[Any, Any, Any, Any]) -> st.SearchStrategy[Case[Any]]:
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    return st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))


def _call(here: World, port: int) -> Counter[int]:
    """Send what the document allows and what it forbids, signed for the path that it is sent to."""
    document = schemathesis.openapi.from_dict(json.loads(DOCUMENT.read_bytes()))
    operation = document["/smp/v1/callbacks/{participant}"]["POST"]
    answers: Counter[int] = Counter()
    session = requests.Session()
    session.trust_env = False
    session.verify = str(here.state / "pki" / "host-ca.pem")

    @given(case=_cases(operation), known=st.sampled_from(_KNOWN))
    @settings(
        max_examples=60,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def one(case: Case[Any], known: dict[str, str]) -> None:
        document = {**case.body, **known} if isinstance(case.body, dict) else case.body
        body = b"" if isinstance(document, NotSet) else document
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "X-JWS-Signature": sign(here, body)}
        url = f"https://127.0.0.1:{port}/smp/v1/callbacks/exstor"
        response = session.post(url, data=body, headers=headers, timeout=30)
        answers[response.status_code] += 1
        case.validate_response(response, checks=_CHECKS)

    with session:
        one()
    return answers


def _config(folder: Path) -> Path:
    path = folder / "schemathesis.toml"
    path.write_text("", "utf-8")
    return path
