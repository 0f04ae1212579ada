"""`bulk --ray`: the options, and the rows' way over workers on Ray instead of this process's adapter."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from .failures import WRONG_USAGE, CommandError
from .options import adapter_settings, count

if TYPE_CHECKING:
    from ..bulk.live import LiveRows
    from ..bulk.rows import Row
    from ..bulk.spending import JobSpending
    from ..integrations.ray import RayRows, WorkerPlan
    from .bulk_via import Via


def add_ray_options(parser: argparse.ArgumentParser) -> None:
    """Where workers are."""
    group = parser.add_argument_group("many machines (extra [ray])")
    group.add_argument(
        "--ray", metavar="ADDRESS",
        help="have workers on Ray send the rows: local starts Ray on this machine, auto joins the one that runs here, "
        "ray://HOST:10001 or HOST:6379 joins another",
    )  # fmt: skip
    group.add_argument("--ray-workers", metavar="N", type=count, help="how many (default: one for each CPU of Ray)")


def check_ray(arguments: argparse.Namespace) -> None:
    """Refuses options that do not go together.

    Raises:
        CommandError: wrong usage.
        ConfigurationError: Ray is not installed, or the sum of the workers would not keep to a limit.
    """
    if arguments.ray is None:
        if arguments.ray_workers is not None:
            raise CommandError("--ray-workers needs --ray ADDRESS, such as --ray local", WRONG_USAGE)
        return
    if arguments.via != "live":
        raise CommandError(f"--ray sends rows live: it does not go with --via {arguments.via}", WRONG_USAGE)
    if arguments.dry_run:
        return  # an estimate needs no Ray
    from ..integrations.ray import RayRows

    RayRows(_plan(arguments, None), workers=1)


@contextlib.contextmanager
def ray_of(arguments: argparse.Namespace) -> Iterator[None]:
    """The connection to Ray, for as long as it is entered; nothing without `--ray`. Sets the number of workers."""
    if arguments.ray is None:
        yield
        return
    from ..integrations.ray import cluster

    with cluster(arguments.ray, workers=arguments.ray_workers) as workers:
        arguments.ray_workers = workers
        yield


def rows_over_ray(
    arguments: argparse.Namespace, live: LiveRows, spending: JobSpending, note: Callable[[str], None]
) -> RayRows | None:
    """Who answers the rows; None without `--ray`."""
    if arguments.ray is None:
        return None
    from ..integrations.ray import RayRows

    plan = _plan(arguments, spending.left_pusd)
    return RayRows(plan, workers=arguments.ray_workers, note=note, worst_case=live.worst_case_pusd)


def charged(ray: RayRows | None, spending: JobSpending, via: Via) -> Callable[[list[Row]], Awaitable[None]]:
    """What is done about rows that are sent again: what they may have cost comes off the workers' limit, too."""

    async def before_again(rows: list[Row]) -> None:
        before_pusd = spending.spent_pusd
        await spending.before_again(rows, via.sent_again)
        if ray is not None:
            await ray.charge(spending.spent_pusd - before_pusd)

    return before_again


def released(ray: RayRows | None) -> tuple[str, ...]:
    """Rows that were with lost workers, and sent again."""
    return ray.statistics().released_names if ray is not None else ()


def _plan(arguments: argparse.Namespace, limit_pusd: int | None) -> WorkerPlan:
    from ..integrations.ray import WorkerPlan

    limits = {
        "requests_per_minute": arguments.requests_per_minute, "tokens_per_minute": arguments.tokens_per_minute,
    }  # fmt: skip
    return WorkerPlan(
        settings=adapter_settings(arguments),
        rate_limits=limits if any(limits.values()) else None,
        max_in_flight=arguments.max_in_flight,
        limit_pusd=limit_pusd,
        wait_for_gateway_s=arguments.wait_for_gateway,
    )


__all__ = ["add_ray_options", "charged", "check_ray", "ray_of", "released", "rows_over_ray"]
