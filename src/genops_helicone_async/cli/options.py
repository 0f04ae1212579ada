"""The options that several commands share, and the adapter and chat keywords that they stand for."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .failures import WRONG_USAGE, CommandError

if TYPE_CHECKING:
    from ..client import GenOpsHeliconeAsyncAdapter

_STRATEGIES = (
    "cost_optimized", "failover", "least_busy", "performance_optimized", "quality_optimized", "round_robin", "weighted",
)  # fmt: skip
_DIALECTS = ("auto", "helicone", "proxy", "rust", "openai")


def add_target_options(parser: argparse.ArgumentParser) -> None:
    """Who answers, and how."""
    group = parser.add_argument_group("who answers")
    who = group.add_mutually_exclusive_group()
    who.add_argument("--provider", metavar="P", help="one provider: openai, anthropic, groq, …")
    who.add_argument("--providers", metavar="P,P,…", type=_names, help="several, in the order of failover")
    group.add_argument(
        "--model", metavar="[P=]M", action="append", default=[],
        help="the model; PROVIDER=MODEL, repeated, names one for each provider (default: each provider's own)",
    )  # fmt: skip
    group.add_argument("--strategy", choices=_STRATEGIES, help="who of several is asked first (default failover)")
    group = parser.add_argument_group("how")
    group.add_argument("--system", metavar="TEXT", help="the system prompt")
    group.add_argument("--max-tokens", metavar="N", type=int, help="longest answer, in tokens")
    group.add_argument("--temperature", metavar="T", type=float, help="0 to 2")


def add_connection_options(parser: argparse.ArgumentParser, timeout_s: float | None = None) -> None:
    """Which gateway, how it is spoken to, and for how long."""
    group = parser.add_argument_group("connection")
    until = "30" if timeout_s is None else f"{timeout_s:g}"
    group.add_argument(
        "--timeout", metavar="S", type=float, default=timeout_s,
        help=f"seconds for a whole call, retries and failover included (default {until})",
    )  # fmt: skip
    group.add_argument("--gateway-url", metavar="URL", help="default: HELICONE_GATEWAY_URL, else Helicone's cloud")
    group.add_argument("--dialect", choices=_DIALECTS, default="auto", help="what the gateway speaks (default auto)")
    group.add_argument(
        "--provider-url", metavar="P=URL", action="append", default=[], type=_pair("PROVIDER=URL"),
        help="a provider's own base URL, up to its version segment; repeatable",
    )  # fmt: skip
    group.add_argument("--trust-env", action="store_true", help="honour HTTPS_PROXY and its like")


def add_json_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Output for a machine."""
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON on standard output")


def chat_keywords(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keywords of a chat that the target options stand for; those not given are left out."""
    keywords = {
        "provider": arguments.provider,
        "providers": arguments.providers,
        "routing_strategy": arguments.strategy,
        "system_prompt": arguments.system,
        "max_tokens": arguments.max_tokens,
        "temperature": arguments.temperature,
        "timeout_seconds": arguments.timeout,
        **_models(arguments.model),
    }
    return {name: value for name, value in keywords.items() if value is not None}


def adapter_from(arguments: argparse.Namespace, **settings: Any) -> GenOpsHeliconeAsyncAdapter:
    """The adapter that the connection options describe.

    Raises:
        ConfigurationError: a setting is wrong, or there is no key.
    """
    from .. import GenOpsHeliconeAsyncAdapter

    return GenOpsHeliconeAsyncAdapter(**adapter_settings(arguments), **settings)


def adapter_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The adapter's keywords that the connection options stand for."""
    return {
        "gateway_url": arguments.gateway_url,
        "gateway_dialect": arguments.dialect,
        "provider_urls": dict(arguments.provider_url) or None,
        "trust_env": arguments.trust_env,
    }


def positive(text: str) -> float:
    """An option's number above 0."""
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def count(text: str) -> int:
    """An option's whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty name: write them as openai,groq")
    return names


def _pair(shape: str) -> Callable[[str], tuple[str, str]]:
    def parse(text: str) -> tuple[str, str]:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {shape}")
        return name, value

    return parse


def _models(given: list[str]) -> dict[str, Any]:
    """`--model M` is the model of all, `--model PROVIDER=M` that of one."""
    plain = [text for text in given if "=" not in text]
    if len(plain) > 1:
        raise CommandError(f"--model is given twice: {plain[0]} and {plain[1]}", WRONG_USAGE)
    try:
        pairs = dict(_pair("PROVIDER=MODEL")(text) for text in given if "=" in text)
    except argparse.ArgumentTypeError as exc:
        raise CommandError(f"--model {exc}", WRONG_USAGE) from None
    return {"model": plain[0] if plain else None, "model_preferences": pairs or None}


__all__ = [
    "adapter_from",
    "adapter_settings",
    "add_connection_options",
    "add_json_option",
    "add_target_options",
    "chat_keywords",
    "count",
    "positive",
]
