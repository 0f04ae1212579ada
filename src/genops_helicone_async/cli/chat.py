"""`chat`: one message, one answer on standard output, what it cost on standard error."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from .._edges.event_loop import run_on_loop
from ..bulk.receipts import label_of, pico, whole_time_s
from .failures import WRONG_USAGE, CommandError
from .money import exact_usd
from .options import adapter_from, add_connection_options, add_json_option, add_target_options, chat_keywords

if TYPE_CHECKING:
    from ..models import HeliconeResponse


def add_to(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "chat",
        help="send one message",
        description="Sends one message, prints the answer, and on standard error what it cost.",
    )
    parser.add_argument("message", metavar="MESSAGE", help="the text to send; - reads it from standard input")
    parser.add_argument("--stream", action="store_true", help="print the answer as it is written")
    add_target_options(parser)
    add_connection_options(parser)
    add_json_option(parser, "the answer and its receipt")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Sends the message; 0 once the answer is printed."""
    message = _from_standard_input() if arguments.message == "-" else arguments.message
    run_on_loop(_send(arguments, message))
    return 0


async def _send(arguments: argparse.Namespace, message: str) -> None:
    async with adapter_from(arguments) as adapter:
        if arguments.stream:
            async with adapter.stream_async(message, **chat_keywords(arguments)) as stream:
                async for chunk in stream:
                    if chunk.content:
                        _print_piece(chunk.content, as_json=arguments.json)
            response = stream.response
        else:
            response = await adapter.chat_async(message, **chat_keywords(arguments))
    if arguments.json:
        print(_as_json(response), flush=True)
        return
    if not arguments.stream:
        print(response.content, flush=True)
    elif not response.content.endswith("\n"):
        print(flush=True)
    print(receipt_line(response), file=sys.stderr, flush=True)


def _print_piece(text: str, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        print(msgspec.json.encode({"delta": text}).decode(), flush=True)
    else:
        print(text, end="", flush=True)


def receipt_line(response: HeliconeResponse) -> str:
    """Provider, model, tokens, cost, seconds and failovers of an answer in one line."""
    usage = response.usage
    cost = "unpriced" if usage.cost_source == "unpriced" else exact_usd(pico(usage.total_cost))
    if usage.cost_source == "estimated":
        cost += " (estimated)"
    parts = [
        f"{response.provider} {response.model}",
        f"{usage.input_tokens} in + {usage.output_tokens} out tokens",
        cost,
        f"{whole_time_s(response.attempts):.2f} s",
    ]
    failed = [f"{attempt.provider} {label_of(attempt)}" for attempt in response.attempts if not attempt.ok]
    if failed:
        parts.append(f"after {', '.join(failed)}")
    if response.finish_reason == "length":
        parts.append("cut off at the token limit")
    return " · ".join(parts)


def _as_json(response: HeliconeResponse) -> str:
    import msgspec

    usage = response.usage
    told = {
        "content": response.content,
        "provider": response.provider,
        "model": response.model,
        "finish_reason": response.finish_reason,
        "tool_calls": response.tool_calls,
        "reasoning": response.reasoning,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "cached_input_tokens": usage.cached_input_tokens,
            "reasoning_tokens": usage.reasoning_tokens,
        },
        "cost_usd": usage.total_cost,
        "cost_source": usage.cost_source,
        "seconds": round(whole_time_s(response.attempts), 6),
        "request_id": response.request_id,
        "attempts": response.attempts,
    }
    return msgspec.json.encode(told).decode()


def _from_standard_input() -> str:
    if sys.stdin.isatty():
        print("reading the message from standard input; Ctrl-D ends it", file=sys.stderr)
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise CommandError(
            f"standard input is not UTF-8 (byte {exc.start}): convert it first, for example with iconv -t utf-8",
            WRONG_USAGE,
        ) from None


__all__ = ["add_to", "receipt_line", "run"]
