from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gateway.core import batch, codec
from gateway.core.message import ASSETS, UNIT
from gateway.core.profile import Profile
from gateway.core.record import Waiting
from gateway.errors import SubmissionRefused


def content(*names: str) -> dict[str, object]:
    return {"assets": [{"assetName": name, "technology": "Battery"} for name in names]}


def waiting(message: str, *names: str, rows: Sequence[range] | None = None, alone: bool = False) -> Waiting:
    spans = (range(len(names)),) if rows is None else tuple(rows)
    return Waiting(message_id=message, kind=ASSETS, content=codec.dumps(content(*names)), rows=spans, alone=alone)


def limited(profile: Profile, **limits: int) -> Profile:
    return profile.model_copy(update={"limits": profile.limits.model_copy(update=limits)})


def carried(profile: Profile, *queue: Waiting) -> list[tuple[str | None, range]]:
    found = batch.gather(profile, queue, frozenset())
    assert found is not None
    return [(portion.message_id, portion.rows) for portion in found.portions]


def test_a_new_message_gives_its_first_rows(profile: Profile) -> None:
    """As many as one submission takes, and the rest waits."""
    found = batch.first_of(limited(profile, assets_per_submission=2), ASSETS, content("a", "b", "c"))
    assert [portion.rows for portion in found.portions] == [range(2)]
    assert [json.loads(row)["assetName"] for row in found.rows] == ["a", "b"]


def test_a_row_that_never_fits_is_refused_at_once(profile: Profile) -> None:
    """Although it is not in the first submission."""
    narrow = limited(profile, assets_per_submission=1, request_bytes=200)
    with pytest.raises(SubmissionRefused, match="the SMP takes 200"):
        batch.first_of(narrow, ASSETS, content("a", "b" * 100))


def test_the_rest_of_a_message_is_cut_at_the_limit(profile: Profile) -> None:
    """Unsent rows go in their order, also when they are not consecutive, and are told as pieces."""
    narrow = limited(profile, assets_per_submission=3)
    found = carried(narrow, waiting("m", *"abcdefgh", rows=[range(1, 3), range(4, 8)]))
    assert found == [("m", range(1, 3)), ("m", range(4, 5))]


def test_bytes_are_a_limit_too(profile: Profile) -> None:
    """A submission holds as many rows as fit, and its body is never longer than the SMP takes."""
    one = len(codec.encode_submission(profile, ASSETS, "0" * 36, content("a" * 50)))
    two = len(codec.encode_submission(profile, ASSETS, "0" * 36, content("a" * 50, "b" * 50)))
    for limit, expected in ((two, 2), (two - 1, 1), (one, 1)):
        narrow = limited(profile, request_bytes=limit)
        found = batch.gather(narrow, [waiting("m", "a" * 50, "b" * 50, "c" * 50)], frozenset())
        assert found is not None
        assert len(found.rows) == expected
        assert len(codec.enclose(narrow, ASSETS, "0" * 36, found.rows)) <= limit


def test_what_has_queued_up_goes_together(profile: Profile) -> None:
    """Whole messages, in their order, with the names of their rows."""
    found = batch.gather(profile, [waiting("m", "a", "b"), waiting("n", "c")], frozenset())
    assert found is not None
    assert [(p.message_id, p.rows, p.names) for p in found.portions] == [
        ("m", range(2), ("a", "b")),
        ("n", range(1), ("c",)),
    ]
    assert [json.loads(row)["assetName"] for row in found.rows] == ["a", "b", "c"]


def test_the_end_of_a_long_message_takes_others_along(profile: Profile) -> None:
    """Its last rows share a submission with what came after it; a part in the middle does not."""
    narrow = limited(profile, assets_per_submission=3)
    long = waiting("m", *"abcdefg", rows=[range(6, 7)])
    assert carried(narrow, long, waiting("n", "x")) == [("m", range(6, 7)), ("n", range(1))]
    assert carried(narrow, replace(long, rows=(range(3, 7),)), waiting("n", "x")) == [("m", range(3, 6))]


@pytest.mark.parametrize(
    "second",
    [
        waiting("n", "c", "a"),  # its name would repeat
        waiting("n", *"cdefghij"),  # it does not fit
        waiting("n", "c", alone=True),
        replace(waiting("n", "c"), kind=UNIT),
        replace(waiting("n", "c"), content=b'{"assets":[{"noSuchMember":1}]}'),
    ],
)
def test_whatever_may_not_be_merged_stays_with_all_behind_it(profile: Profile, second: Waiting) -> None:
    """Order is kept: nothing overtakes the message that stays."""
    narrow = limited(profile, assets_per_submission=8)
    assert carried(narrow, waiting("m", "a", "b"), second, waiting("o", "z")) == [("m", range(2))]


def test_a_message_set_apart_goes_alone(profile: Profile) -> None:
    """Nothing joins it."""
    assert carried(profile, waiting("m", "a", alone=True), waiting("n", "b")) == [("m", range(1))]


def test_a_name_stays_back_while_it_may_have_to_go_again(profile: Profile) -> None:
    """The head waits with everything behind it; a later message only is not merged."""
    queue = [waiting("m", "a"), waiting("n", "b")]
    assert batch.gather(profile, queue, frozenset("a")) is None
    found = batch.gather(profile, queue, frozenset("b"))
    assert found is not None
    assert [portion.message_id for portion in found.portions] == ["m"]


def test_without_the_profiles_word_nothing_is_merged(profile: Profile) -> None:
    """`merges` names the kinds."""
    assert carried(profile.model_copy(update={"merges": ()}), waiting("m", "a"), waiting("n", "b")) == [("m", range(1))]
