"""Refusals that are not about the rate, and calls under way when the first rate is set."""

from collections.abc import Callable

from genops_helicone_async._rules.adaptive import RateController


def test_calls_under_way_count_as_taken_when_a_rate_is_first_set() -> None:
    """Twenty were answered, twenty more are on their way: in two seconds the provider has taken forty."""
    rates = []
    for under_way in (0, 20):
        controller = RateController(0.0)
        for _ in range(20):
            controller.observe_accepted(1.0, is_limited=False)
        controller.observe_throttled(1.0, 1.0, under_way)
        rates.append(controller.rate_per_s)
    assert rates == [10.0, 20.0]


def paced(
    controller: RateController, seconds: float, refuse: Callable[[int], bool], wait_s: float = 0.0
) -> list[float]:
    """The rates of so long at the rate allowed, every call answered at once; after a refusal nothing for `wait_s`."""
    now_s, number, rates = 0.0, 0, []
    while now_s < seconds:
        now_s, number = now_s + 1 / controller.rate_per_s, number + 1
        if refuse(number):
            controller.observe_throttled(now_s, now_s)
            now_s += wait_s
        else:
            controller.observe_accepted(now_s, is_limited=True)
        rates.append(controller.rate_per_s)
    return rates


def test_refusals_that_no_lower_rate_makes_fewer_do_not_lower_it_for_long() -> None:
    """Every twentieth is refused at any rate: after a few tries it is put back and higher, and stays for a minute."""
    controller = RateController(0.0, start_per_s=100.0, ceiling_per_s=200.0)
    rates = paced(controller, 40.0, lambda number: number % 20 == 0)
    assert min(rates) > 5
    assert rates[-1] == 200.0
    assert set(rates[len(rates) // 2 :]) == {200.0}


def test_while_it_is_immune_many_refusals_still_count() -> None:
    """After accidents a real limit comes: half of the calls are refused, and the rate falls within its immunity."""
    controller = RateController(0.0, start_per_s=100.0, ceiling_per_s=200.0)
    paced(controller, 20.0, lambda number: number % 20 == 0)
    assert controller.rate_per_s == 200.0
    for number in range(100):
        now_s = 21.0 + number / 100
        if number % 2:
            controller.observe_throttled(now_s, now_s)
        else:
            controller.observe_accepted(now_s, is_limited=True)
    assert controller.rate_per_s < 100


def test_a_rate_that_is_not_had_is_lowered_on() -> None:
    """Ten calls, a refusal and a pause of a second: however few are refused, the rate has not been tried yet."""
    controller = RateController(0.0, start_per_s=100.0)
    rates = paced(controller, 30.0, lambda number: number % 10 == 0, wait_s=1.0)
    assert min(rates) < 15
