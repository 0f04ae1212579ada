"""`validate`: whether a setup works, with a status that a pipeline of CI can go by."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .failures import FAILED
from .options import add_connection_options, add_json_option

if TYPE_CHECKING:
    from ..validation import ValidationResult


def add_to(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "validate",
        help="check keys, gateway, prices, store and telemetry",
        description="Tries what calls will need: keys, gateway, prices, the store of budgets, the clock and telemetry. "
        "Nothing is billed without --performance. Exit status: 0 it works, 1 something failed, 2 wrong usage.",
    )
    parser.add_argument(
        "--performance", action="store_true", help="make one small billed call to each provider, and say so first"
    )
    parser.add_argument("--detailed", action="store_true", help="with models, prices and addresses")
    parser.add_argument(
        "--state-url", metavar="URL", help="the store of budgets to try (default: GENOPS_STATE_URL, else memory)"
    )
    add_connection_options(parser)
    add_json_option(parser, "what was found")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Validates; 0 where nothing failed."""
    from .._arguments import check_positive, check_url
    from ..validation import print_validation_result, validate_setup

    if arguments.gateway_url is not None:
        check_url("--gateway-url", arguments.gateway_url)
    settings: dict[str, Any] = {}
    if arguments.timeout is not None:
        check_positive("--timeout", arguments.timeout)
        settings["timeout_seconds"] = arguments.timeout
    result = validate_setup(
        arguments.performance,
        gateway_url=arguments.gateway_url,
        gateway_dialect=arguments.dialect,
        provider_urls=dict(arguments.provider_url) or None,
        trust_env=arguments.trust_env,
        state_url=arguments.state_url,
        **settings,
    )
    if arguments.json:
        print(_as_json(result))
    else:
        print_validation_result(result, detailed=arguments.detailed)
    return 0 if result.ok else FAILED


def _as_json(result: ValidationResult) -> str:
    import msgspec

    return msgspec.json.encode({"ok": result.ok, **msgspec.structs.asdict(result)}).decode()


__all__ = ["add_to", "run"]
