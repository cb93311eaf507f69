from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from gateway.core.message import ASSETS, UNIT
from gateway.core.profile import Profile

Tree = dict[str, Any]


@pytest.fixture
def tree(profile_path: Path) -> Tree:
    loaded: Tree = yaml.safe_load(profile_path.read_text(encoding="utf-8"))
    return loaded


def test_the_shipped_profile_says_what_domain_says(profile: Profile) -> None:
    """smp-v1 as domain.md section 3 writes it down, checked value by value."""
    assert (profile.paths.submission(ASSETS), profile.paths.submission(UNIT)) == ("/assets", "/units")
    assert (profile.paths.authenticate, profile.paths.status) == ("/authenticate", "/transactions/status")
    assert profile.paths.callback_of("exstor") == "/smp/v1/callbacks/exstor"
    assert profile.headers.signature == "X-JWS-Signature"
    assert profile.headers.message_id == "X-Message-Id"
    assert profile.signature.algorithms == ("ES256", "PS256", "RS256", "EdDSA")
    limits = profile.limits
    assert (limits.assets_per_submission, limits.units_per_submission, limits.aligned_assets_per_unit) == (
        1000,
        1,
        1000,
    )
    assert {limits.request_bytes, limits.response_bytes, limits.callback_bytes} == {4 * 1024 * 1024}
    assert profile.capabilities.deduplicates_kind(ASSETS)
    assert profile.capabilities.deduplicates_kind(UNIT)
    assert (profile.pipeline, profile.gsp_mismatch, profile.atomic_batches) == ("after_submit", "warning", True)


def test_durations_carry_their_unit(profile: Profile) -> None:
    """Text with a unit in the file, µs in the program."""
    timings = profile.timings
    assert timings.request_s == 10.0
    assert timings.request_us == 10_000_000
    assert timings.verdict_deadline_us == 5 * 60_000_000
    assert timings.verdict_limit_us == 24 * 3_600_000_000
    assert timings.clock_tolerance_us == 300_000_000


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("signature.form", "general", "detached"),
        ("signature.responses", "perhaps", "signed"),
        ("methods.status", "GET", "must hold {transaction_id} once"),
        ("methods.assets", "DELETE", "PUT"),
        ("paths.status", "/transactions/{transaction_id}", "cannot hold a place"),
        ("paths.status_by_submission", "/submissions/{submission_id}", "status by GET"),
        ("token", {"path": "token"}, "how long a token lives"),
        ("members.result.errors", "errors..list", "pattern"),
        ("media_types.signed", "json", "pattern"),
        ("signature.algorithms", ["HS256"], "HS256"),
        ("signature.algorithms", [], "at least 1"),
        ("timings.request", "10", "duration"),
        ("timings.request", 10, "duration"),
        ("timings.settle", "60s", "settle"),
        ("timings.token_renewal", 1.5, "less than 1"),
        ("paths.assets", "assets", "pattern"),
        ("paths.callback", "/callbacks", "participant"),
        ("headers.signature", "X Y", "pattern"),
        ("limits.units_per_submission", 2, "1"),
        ("answers.submission.login", [401, 202], "202 stands under both"),
        ("answers.submission.login", ["soon"], "neither"),
        ("asset.ref", "nobody", "nobody"),
        ("asset.require_any", [[]], "at least 1"),
        ("asset.members.technology.words", "nothing", "nothing"),
        ("pipeline", "whenever", "after_submit"),
        ("surprise", 1, "surprise"),
    ],
)
def test_mistakes_are_named(tree: Tree, path: str, value: object, words: str) -> None:
    """A wrong or not yet built setting is refused with words that name it."""
    *way, last = path.split(".")
    place = tree
    for name in way:
        place = place[name]
    place[last] = value
    with pytest.raises(ValidationError, match=words):
        Profile.model_validate(tree)


def test_an_exact_status_goes_before_its_class(tree: Tree) -> None:
    """304 can mean something else than 3xx."""
    tree["answers"]["submission"]["login"] = [401, 304]
    answers = Profile.model_validate(tree).answers.submission
    assert (answers.meaning(304), answers.meaning(302), answers.meaning(500)) == ("login", "hold_endpoint", None)


def test_a_profile_is_frozen(profile: Profile) -> None:
    """Nobody can change the wire's words at run time."""
    with pytest.raises(ValidationError):
        setattr(profile, "pipeline", "after_verdict")  # noqa: B010 - a plain assignment is what mypy forbids
