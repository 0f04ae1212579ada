"""`sandbox`: the sandbox gateway as a server to try things against, with scripted faults and a bill at the end."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING, Any

from .failures import FAILED, WRONG_USAGE, CommandError, reason
from .money import digits_of, exact_usd
from .options import add_json_option
from .program import program
from .tables import Table, print_table

if TYPE_CHECKING:
    from ..testing import SandboxGateway

_FAULT_HELP = """
a fault is PROVIDER:WHAT[:KEY=VALUE…], with * for every provider:
  --fault 'openai:status=500:probability=0.1'     one call in ten fails
  --fault 'groq:status=429:retry_after=2:times=5' five calls are refused
  --fault 'anthropic:reset'                       connections break
  --fault 'openai:delay=3'                        three seconds more
  --fault 'openai:down=30'                        an outage of 30 seconds; down alone lasts
  --fault 'groq:limit=60/5'                       60 requests a minute, 5 at once
other kinds: cut, cut_mid_utf8, endless, error_event, gateway_status, gzip_garbage, hang, html,
  no_finish_reason, not_json, redirect, reset_mid_body, slow_drip, truncated_json, wrong_usage
"""


def add_to(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser(
        "sandbox",
        help="run a local stand-in for Helicone and its providers",
        description="Runs a gateway that answers as Helicone's does, without any key or network, until Ctrl-C.",
        epilog=_FAULT_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default 0, any free one)")
    parser.add_argument("--seed", type=int, default=0, help="decides replies, latencies and faults (default 0)")
    parser.add_argument(
        "--latency-scale", type=float, default=1.0, metavar="X",
        help="1 is the speed of the real providers, 0 answers at once (default 1)",
    )  # fmt: skip
    parser.add_argument("--fault", action="append", default=[], metavar="SPEC", help="see below; repeatable")
    add_json_option(parser, "where it listens, and at the end the bill,")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serves until Ctrl-C, which is the proper end: 0."""
    from ..testing import SandboxGateway

    if not (0 <= arguments.latency_scale < float("inf")):
        raise CommandError(f"--latency-scale is {arguments.latency_scale}: give 0 or more", WRONG_USAGE)
    if not 0 <= arguments.port <= 65535:
        raise CommandError(f"--port is {arguments.port}: give 0 to 65535", WRONG_USAGE)
    gateway = SandboxGateway(
        seed=arguments.seed, host=arguments.host, port=arguments.port, latency_scale=arguments.latency_scale
    )
    for text in arguments.fault:
        add_fault(gateway, text)
    asyncio.run(_serve(gateway, as_json=arguments.json))
    _print_bill(gateway, as_json=arguments.json)
    return 0


async def _serve(gateway: SandboxGateway, *, as_json: bool) -> None:
    from .interrupts import Interrupts

    try:
        await gateway.start()
    except OSError as exc:
        raise CommandError(f"cannot listen: {reason(exc)} (--port 0 takes any free port)", FAILED) from exc
    ended = asyncio.Event()
    try:
        with Interrupts(lambda _: ended.set()):
            _print_places(gateway, as_json=as_json)
            await ended.wait()
    finally:
        await gateway.close()


def _print_places(gateway: SandboxGateway, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        places = {
            "url": gateway.url,
            "api_key": gateway.api_key,
            "openai_url": gateway.openai_url,
            "rust_url": gateway.rust_url,
            "provider_urls": gateway.provider_urls,
            "faults": len(gateway.faults),
        }
        print(msgspec.json.encode(places).decode(), flush=True)
        return
    print(
        f"Sandbox gateway on {gateway.url}; Ctrl-C ends it and prints its bill.\n\n"
        f"  export HELICONE_GATEWAY_URL={gateway.url}\n"
        f"  export HELICONE_API_KEY={gateway.api_key}\n"
        f"  {program()} chat 'Hello' --provider openai\n\n"
        f"The openai SDK:  OpenAI(base_url='{gateway.openai_url}', api_key='{gateway.api_key}')\n"
        f"Provider hosts:  {gateway.provider_urls['anthropic']} and its like;  Rust dialect:  {gateway.rust_url}\n"
        f"Control:         curl {gateway.url}/__sandbox__/bill\n",
        flush=True,
    )


def _print_bill(gateway: SandboxGateway, *, as_json: bool) -> None:
    bill, calls = gateway.bill, gateway.statistics().calls
    if as_json:
        import msgspec

        told: dict[str, Any] = {"calls": calls, "billed": len(bill), "total_pusd": bill.total_pusd}
        told |= {"by_provider_pusd": bill.by_provider, "faults_struck": gateway.faults.struck}
        print(msgspec.json.encode(told).decode(), flush=True)
        return
    rows = bill.rows
    digits = digits_of([*bill.by_provider.values(), bill.total_pusd])
    lines = []
    for provider, cost in sorted(bill.by_provider.items(), key=lambda item: -item[1]):
        own = [row for row in rows if row.provider == provider]
        tokens_in, tokens_out = sum(row.input_tokens for row in own), sum(row.output_tokens for row in own)
        lines.append((provider, f"{len(own):,}", f"{tokens_in:,}", f"{tokens_out:,}", exact_usd(cost, digits)))
    print()
    if lines:
        columns = ("provider", "replies >", "tokens in >", "tokens out >", "cost >")
        print_table(Table(title="The sandbox's bill", columns=columns, rows=lines), sys.stdout)
    print(
        f"{calls:,} calls, {len(bill):,} billed, {gateway.faults.struck:,} hit by faults: {exact_usd(bill.total_pusd)}"
    )


def add_fault(gateway: SandboxGateway, text: str) -> None:
    """Puts a fault in force that is written as `PROVIDER:WHAT[:KEY=VALUE…]`.

    Raises:
        CommandError: it cannot be read; the message says which part.
    """
    import msgspec

    from ..testing import Fault

    provider, _, rest = text.partition(":")
    what, *more = rest.split(":")
    if not provider or not what:
        raise _wrong(text, "write PROVIDER:WHAT, such as openai:status=500")
    name, _, value = what.partition("=")
    try:
        if name == "down":
            gateway.faults.down(provider, float(value) if value else None)
            return
        if name == "limit":
            per_minute, _, burst = value.partition("/")
            gateway.faults.set_hidden_limit(provider, float(per_minute), int(burst or 1))
            return
        fields: dict[str, str | None] = {}
        for part in more:
            key, _, text_value = part.partition("=")
            fields[key] = text_value
        if value:
            fields["delay_s" if name == "delay" else name] = value
        fields |= {"kind": name, "provider": None if provider == "*" else provider}
        gateway.faults.add(msgspec.convert(fields, Fault, strict=False))
    except ValueError as exc:  # msgspec.ValidationError is one
        raise _wrong(text, str(exc)) from None


def _wrong(text: str, why: str) -> CommandError:
    return CommandError(f"--fault {text!r}: {why} (see: {program()} sandbox --help)", WRONG_USAGE)


__all__ = ["add_fault", "add_to", "run"]
