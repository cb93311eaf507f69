"""What every suite shares: the wire profile that the product ships."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, settings

from gateway.core.profile import Profile
from tests.postgres import PostgresServer, postgres_server

# Time is no assertion: on a fresh clone hypothesis first builds its table of Unicode, and a loaded machine may take any
# time over any example; neither says anything about the code.
settings.register_profile("timeless", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("timeless")

pytest.register_assert_rewrite("adapters.contract")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a report travel between processes although a log line in it quotes a stranger's broken text."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def profile_path() -> Path:
    return REPOSITORY / "config" / "profiles" / "smp-v1.yaml"


@pytest.fixture(scope="session")
def profile(profile_path: Path) -> Profile:
    return Profile.model_validate(yaml.safe_load(profile_path.read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of this process; who kills it starts it again."""
    with postgres_server() as server:
        yield server
