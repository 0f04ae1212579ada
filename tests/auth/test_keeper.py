"""The keeper of a token, with its clock and source in the test's hand: when it fetches, for whom, when it gives up."""

import asyncio

import pytest

from genops_helicone_async import AuthenticationError, DeadlineExceededError
from genops_helicone_async._edges.credentials import Sender, TokenKeeper
from genops_helicone_async._rules.token_life import UNTOLD_LIFE_S, TokenLife, life_of
from genops_helicone_async._values import HttpReply, HttpRequest
from genops_helicone_async._wire.oauth import Grant

pytestmark = pytest.mark.anyio

SOON = 5.0
"""Seconds that nothing here takes."""


class Nobody:
    """A sender that is never used: the source makes its tokens up."""

    async def send(self, request: HttpRequest, deadline: float) -> HttpReply:
        """Never called."""
        raise NotImplementedError


class Source:
    """Numbered tokens; `hold` lets fetches wait, `error` lets them fail."""

    place = "the source"

    def __init__(self, lifetime_s: float | None = 100.0) -> None:
        self.lifetime_s = lifetime_s
        self.fetches = 0
        self.error: Exception | None = None
        self.hold = asyncio.Event()
        self.hold.set()

    async def fetch(self, sender: Sender, deadline: float) -> Grant:
        """The next token."""
        self.fetches += 1
        number = self.fetches
        await self.hold.wait()
        if self.error is not None:
            raise self.error
        return Grant(text=f"token-{number}", lifetime_s=self.lifetime_s)


class Rig:
    """A keeper, its source and its clock."""

    def __init__(self, lifetime_s: float | None = 100.0) -> None:
        self.now = 1000.0
        self.source = Source(lifetime_s)
        self.keeper = TokenKeeper(self.source, lambda: self.now)

    async def text(self, within_s: float = SOON) -> str:
        """The token's text."""
        deadline = asyncio.get_running_loop().time() + within_s
        return (await self.keeper.token(Nobody(), deadline)).text

    async def settled(self) -> None:
        """A fetch under way has ended."""
        while self.keeper._flight is not None:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "lifetime_s, renew_after_s, ends_after_s",
    [
        (3600.0, 3300.0, 3570.0),
        (100.0, 80.0, 90.0),
        (1.0, 0.8, 0.9),
        (0.0, 0.0, 0.0),
        (-5.0, 0.0, 0.0),
        (None, UNTOLD_LIFE_S - 60, UNTOLD_LIFE_S - 30),
        (float("inf"), 30 * 86_400 - 300, 30 * 86_400 - 30),
        (float("nan"), 30 * 86_400 - 300, 30 * 86_400 - 30),
        (1e300, 30 * 86_400 - 300, 30 * 86_400 - 30),
    ],
)
def test_when_a_token_is_renewed_and_when_it_ends(
    lifetime_s: float | None, renew_after_s: float, ends_after_s: float
) -> None:
    """A fifth of the life ahead, five minutes at most; the last tenth, half a minute at most, is not used."""
    assert life_of(50.0, lifetime_s) == TokenLife(renew_at_s=50 + renew_after_s, ends_at_s=50 + ends_after_s)


async def test_a_token_is_fetched_once_while_it_serves() -> None:
    """Up to the time of its renewal nothing is fetched."""
    rig = Rig()
    assert [await rig.text(), await rig.text()] == ["token-1", "token-1"]
    rig.now += 79.9
    assert (await rig.text(), rig.source.fetches) == ("token-1", 1)


async def test_a_token_near_its_end_is_renewed_without_waiting() -> None:
    """Who asks gets the old one, which still serves; the new one is for those who come after."""
    rig = Rig()
    await rig.text()
    rig.now += 80
    rig.source.hold.clear()
    assert [await rig.text(), await rig.text()] == ["token-1", "token-1"]
    await asyncio.sleep(0)
    assert rig.source.fetches == 2
    rig.source.hold.set()
    await rig.settled()
    assert (await rig.text(), rig.source.fetches) == ("token-2", 2)


async def test_a_renewal_that_fails_leaves_the_old_token_and_is_not_repeated_at_once() -> None:
    """The old one serves to its end; the endpoint is asked again after a pause, not by every call."""
    rig = Rig()
    await rig.text()
    rig.now += 80
    rig.source.error = AuthenticationError("down")
    for _ in range(10):
        assert await rig.text() == "token-1"
        await rig.settled()
    assert rig.source.fetches == 2
    rig.now += 5
    assert await rig.text() == "token-1"
    await rig.settled()
    assert rig.source.fetches == 3


async def test_a_token_in_its_last_moments_is_waited_for() -> None:
    """What might end on the way is not sent."""
    rig = Rig()
    await rig.text()
    rig.now += 90
    assert await rig.text() == "token-2"


async def test_a_failed_fetch_fails_those_who_wait_each_with_an_error_of_its_own() -> None:
    """Calls write on their errors, so that no two share one; the next call asks again at once."""
    rig = Rig()
    rig.source.hold.clear()
    rig.source.error = AuthenticationError("refused", code="invalid_client")
    calls = [asyncio.ensure_future(rig.text()) for _ in range(3)]
    await asyncio.sleep(0)
    rig.source.hold.set()
    errors = list(await asyncio.gather(*calls, return_exceptions=True))
    assert [str(error) for error in errors] == ["refused"] * 3
    assert [error.code for error in errors if isinstance(error, AuthenticationError)] == ["invalid_client"] * 3
    assert (len({id(error) for error in errors}), rig.source.fetches) == (3, 1)
    rig.source.error = None
    assert await rig.text() == "token-2"


async def test_a_defect_of_the_source_reaches_the_caller() -> None:
    """An error nobody foresaw is raised as it is, and nobody waits for ever."""
    rig = Rig()
    rig.source.error = ZeroDivisionError("a defect")
    with pytest.raises(ZeroDivisionError, match="a defect"):
        await rig.text()


async def test_a_deadline_ends_the_wait_and_not_the_fetch() -> None:
    """Who has no time leaves; the token comes all the same."""
    rig = Rig()
    rig.source.hold.clear()
    with pytest.raises(DeadlineExceededError, match=r"^no token came from the source before the deadline$"):
        await rig.text(within_s=0.0)
    rig.source.hold.set()
    assert (await rig.text(), rig.source.fetches) == ("token-1", 1)


async def test_a_refused_token_is_replaced_once_for_all_who_were_refused() -> None:
    """The second to complain about the same token hears that another has come."""
    rig = Rig()
    await rig.text()
    token = rig.keeper._token
    assert token is not None
    token.proven = True
    assert (rig.keeper.refused(token), rig.keeper.refused(token)) == (True, True)
    assert (await rig.text(), rig.source.fetches) == ("token-2", 2)
    assert rig.keeper.refused(token) is True
    assert (await rig.text(), rig.source.fetches) == ("token-2", 2)


async def test_a_replacement_that_never_served_is_not_replaced_for_a_while() -> None:
    """It is not the token's fault; after ten seconds it is tried again."""
    rig = Rig()
    await rig.text()
    for _ in range(2):
        first = rig.keeper._token
        assert first is not None
        assert rig.keeper.refused(first) is True
        await rig.text()
        second = rig.keeper._token
        assert second is not None
        assert [rig.keeper.refused(second) for _ in range(5)] == [False] * 5
        rig.now += 10
    assert rig.source.fetches == 3
    assert rig.keeper.statistics().refusals == 12


async def test_closing_gives_up_the_fetch_and_tells_those_who_wait_on_other_loops_to_go_on() -> None:
    """The task is gone, and the next who needs a token fetches one."""
    rig = Rig()
    rig.source.hold.clear()
    call = asyncio.ensure_future(rig.text())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await rig.keeper.aclose()
    rig.source.hold.set()
    assert (await call, rig.source.fetches) == ("token-2", 2)
    await rig.keeper.aclose()


def test_a_fetch_whose_loop_was_closed_under_it_is_begun_anew() -> None:
    """A loop closed by hand cancels nothing; whoever comes next does not wait for what will never land."""
    rig = Rig()
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        rig.source.hold.clear()
        asyncio.get_running_loop().call_soon(loop.stop)
        rig.keeper._flight_under_way(Nobody())

    begun = loop.create_task(begin())
    loop.run_forever()
    flight = rig.keeper._flight
    assert begun.done()
    assert flight is not None
    assert flight.task is not None
    flight.task.cancel()  # only that its end is no warning; it never runs again
    loop._ready.clear()  # type: ignore[attr-defined]
    loop.close()
    rig.source = rig.keeper._source = Source()
    assert asyncio.run(rig.text()) == "token-1"


def test_a_token_shows_in_no_repr() -> None:
    """Neither the keeper's nor the token's nor the grant's."""
    rig = Rig()
    assert asyncio.run(rig.text()) == "token-1"
    assert "token-1" not in f"{rig.keeper!r} {rig.keeper._token!r} {Grant(text='token-1', lifetime_s=None)!r}"
