"""What a job has come to: rows by what came of them, causes of failure, and the same again after a restart."""

from typing import Any

import msgspec
import pytest

from genops_helicone_async import Attempt
from genops_helicone_async.bulk.causes import cause_of, shape_of
from genops_helicone_async.bulk.ports import Outcome
from genops_helicone_async.bulk.tally import MOST_BARS, MOST_CAUSES, Course, Tally

ANSWERED = Attempt(
    provider="groq", model="m", request_id="r", status_code=200, billed="yes", cost=1e-6, input_tokens=3,
    output_tokens=4, duration_s=0.5, cost_source="computed",
)  # fmt: skip
LOST = Attempt(
    provider="openai", model="m", request_id="r", error="GatewayError", billed="maybe", cost=2e-6, duration_s=1.0
)


def answered(line: int = 1, **facts: Any) -> Outcome:
    """A row that was answered."""
    given: dict[str, Any] = {"attempts": (LOST, ANSWERED), **facts}
    return Outcome(line=line, custom_id="a", kind="answered", **given)


def failed(reason: str, **facts: Any) -> Outcome:
    """A row that was not."""
    return Outcome(line=1, custom_id="a", kind="failed", error="ProviderError", reason=reason, **facts)


def test_rows_are_counted_by_what_came_of_them() -> None:
    """Answered, copied from an equal one, failed, given back, and lines that were none."""
    tally = Tally()
    tally.add_outcome(answered(), 0.0)
    tally.add_outcome(answered(served_by="a", attempts=()), 0.0)
    tally.add_outcome(failed("broke", attempts=(LOST,)), 0.0)
    tally.add_outcome(Outcome(line=4, custom_id="d", kind="unsent"), 0.0)
    tally.add_bad()
    assert (tally.ok, tally.copied, tally.failed, tally.unsent, tally.skipped, tally.done) == (2, 1, 1, 1, 1, 4)
    assert (tally.cost_pusd, tally.in_doubt_pusd, tally.in_doubt) == (1_000_000, 4_000_000, 2)
    assert (tally.tokens, tally.latencies.count, tally.failover_count) == (7, 1, 1)
    assert tally.course.bars == {0: (2, 1)}


def test_a_tally_comes_back_from_its_snapshot() -> None:
    """A resumed job goes on with the figures of all runs; rows that were given back are done again."""
    tally = Tally()
    for outcome in (answered(), failed("no room"), Outcome(line=4, custom_id="d", kind="unsent")):
        tally.add_outcome(outcome, 7.0)
    again = Tally.restore(tally.snapshot())
    assert (tally.unsent, again.unsent) == (1, 0)
    tally.unsent = 0
    assert again == tally
    again.add_outcome(answered(5), 8.0)
    assert (again.ok, tally.ok, again.providers["groq"].asked, tally.providers["groq"].asked) == (2, 1, 2, 1)
    with pytest.raises(msgspec.DecodeError):
        Tally.restore(b"\xc1")


@pytest.mark.parametrize(
    "message, shape",
    [
        ("try again in 2.5 s, at 12:30", "try again in # s, at #:#"),
        ("request 550e8400-e29b-41d4-a716-446655440000 failed", "request … failed"),
        ("request req_8fa3b2c1d, trace 0a1b2c3d4e", "request …, trace …"),
        ("model 'gpt-4o' and \"x y\" are unknown", "model '…' and '…' are unknown"),
        ("gpt-4o-mini is over capacity", "gpt-4o-mini is over capacity"),
        ("two\n  lines", "two lines"),
        ("x" * 1000, "x" * 159 + "…"),
        ("", ""),
    ],
)
def test_a_message_has_a_shape(message: str, shape: str) -> None:
    """Without what differs from row to row: ids, numbers, quoted texts."""
    assert shape_of(message) == shape


def test_failures_of_one_cause_are_one_line() -> None:
    """Kind, status and shape of the message; the first message is the example, the most frequent come first."""
    refused = (Attempt(provider="a", model="m", request_id="r", error="ProviderError", status_code=503),)
    tally = Tally()
    tally.add_outcome(failed("once"), 0.0)
    for number in range(3):
        tally.add_outcome(failed(f"busy, wait {number} s", attempts=refused), 0.0)
    found = [(cause, one.count, one.example) for cause, one in tally.ranked_failures()]
    assert found == [
        (("ProviderError", "503", "busy, wait # s"), 3, "busy, wait 0 s"), (("ProviderError", "", "once"), 1, "once"),
    ]  # fmt: skip
    assert tally.as_json()["errors"] == {"ProviderError": {"count": 4, "example": "once"}}


def test_the_status_is_that_of_the_last_attempt_that_has_one() -> None:
    """A connection that was lost afterwards does not hide it."""
    first = Attempt(provider="a", model="m", request_id="r", http_status=429)
    assert cause_of("K", "m", (first, LOST)) == ("K", "429", "m")


def test_causes_are_bounded() -> None:
    """Messages that all differ do not fill memory."""
    tally = Tally()
    for number in range(2 * MOST_CAUSES):
        tally.add_outcome(failed("".join(chr(97 + int(digit)) for digit in str(number))), 0.0)
    assert len(tally.failures) == MOST_CAUSES + 1
    assert sum(one.count for one in tally.failures.values()) == 2 * MOST_CAUSES
    assert tally.failures["others", "", ""].count == MOST_CAUSES


def test_the_course_of_a_long_job_is_bounded() -> None:
    """Bars grow twice as wide, and no row of them is lost."""
    course = Course()
    for minute in range(3000):
        course.add(1e9 + 60.0 * minute, failed=minute % 3 == 0)
    assert len(course.bars) <= MOST_BARS
    assert course.width_s == 10.0 * 2**8
    assert tuple(map(sum, zip(*course.bars.values(), strict=True))) == (2000, 1000)
