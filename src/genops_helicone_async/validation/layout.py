"""A validation's result for people: with signs on a terminal that can show them, as plain text everywhere else."""

from __future__ import annotations

import sys
from typing import TextIO

from .results import PerformanceMeasurement, Status, ValidationResult

_SIGNS: dict[Status, str] = {"ok": "✅ ", "info": "ℹ️  ", "warning": "⚠️  ", "failed": "❌ "}  # noqa: RUF001
_WORDS: dict[Status, str] = {"ok": "[ok] ", "info": "[info] ", "warning": "[warning] ", "failed": "[failed] "}
_HEADS = {"🔍": "GenOps Helicone Setup Validation", "🎯": "Quick Performance Test:", "💡": "Recommendations:"}
_LEAST_SHOWN = 0.00005


def print_validation_result(result: ValidationResult, detailed: bool = False, *, file: TextIO | None = None) -> None:
    """Prints what was found, question by question, the verdict, and what to do next.

    Args:
        result: What `validate_setup` gave.
        detailed: With each answer's details: models, prices, addresses.
        file: Where to; standard output by default. What is no terminal, or cannot show the signs, gets plain text.
    """
    out = sys.stdout if file is None else file
    out.write(rendered(result, detailed=detailed, signs=_shows_signs(out)))


def rendered(result: ValidationResult, *, detailed: bool, signs: bool) -> str:
    """The text that is printed."""
    marks = _SIGNS if signs else _WORDS
    lines = [_head("🔍", signs), ""]
    for check in result.checks:
        lines.append(f"{marks[check.status]}{check.title}: {check.summary}")
        if detailed:
            lines += [f"   {detail}" for detail in check.details]
            if check.latency_s is not None and check.name != "gateway":
                lines.append(f"   took {duration(check.latency_s)}")
    if result.performance:
        lines += ["", _head("🎯", signs)]
        for one in result.performance:
            lines.append(f"{marks['ok' if one.ok else 'failed']}{_measured(one)}")
            if detailed and one.ok:
                lines.append(f"   {_told(one)}")
    lines += ["", f"{marks['ok' if result.ok else 'failed']}Overall Status: {_verdict(result)}"]
    if result.recommendations:
        lines += ["", _head("💡", signs), *(f"- {advice}" for advice in result.recommendations)]
    return "\n".join([*lines, ""])


def duration(seconds: float) -> str:
    """`45ms` below a second, `1.1s` from there on."""
    milliseconds = round(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds < 1000 else f"{seconds:.1f}s"


def _head(sign: str, signs: bool) -> str:
    return f"{sign} {_HEADS[sign]}" if signs else _HEADS[sign]


def _measured(one: PerformanceMeasurement) -> str:
    if not one.ok:
        return f"{one.title} via Helicone: {one.error}"
    return f"{one.title} via Helicone: {duration(one.latency_s or 0.0)} (cost: {_money(one)})"


def _money(one: PerformanceMeasurement) -> str:
    """Four digits after the point, or six where four would show nothing."""
    digits = 4 if one.cost >= _LEAST_SHOWN or not one.cost else 6
    amount = f"{one.cost:.{digits}f}"
    return f"${amount}" if one.currency == "USD" else f"{amount} {one.currency}"


def _told(one: PerformanceMeasurement) -> str:
    speed = f", {one.tokens_per_second:.0f} tokens/s" if one.tokens_per_second else ""
    return f"{one.model}: {one.output_tokens} output tokens{speed}"


def _verdict(result: ValidationResult) -> str:
    failed = len(result.failures) + sum(not one.ok for one in result.performance)
    counts = [_counted(failed, "error"), _counted(len(result.warnings), "warning")]
    told = ", ".join(count for count in counts if count)
    return f"{result.status.upper()}{f' (with {told})' if told else ''}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""


def _shows_signs(out: TextIO) -> bool:
    """Whether it is a terminal whose encoding has the signs."""
    if not out.isatty():
        return False
    try:
        "".join([*_SIGNS.values(), *_HEADS]).encode(out.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


__all__ = ["duration", "print_validation_result", "rendered"]
