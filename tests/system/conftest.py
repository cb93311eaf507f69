"""The wire profiles that the stories about the wire are told in."""

from __future__ import annotations

import pytest

from tests.system.wire import OTHER_V7, SMP_V1, Wire


@pytest.fixture(params=[SMP_V1, OTHER_V7], ids=lambda wire: wire.name)
def wire(request: pytest.FixtureRequest) -> Wire:
    found: Wire = request.param
    return found
