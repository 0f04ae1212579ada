"""An answer as a value of your own class, from providers with and without native support for it."""

import asyncio

import msgspec
from gateway_to_talk_to import adapter_to_talk_to


class Invoice(msgspec.Struct):
    """What the answer must look like."""

    customer: str
    total: float
    items: list[str]


async def main() -> None:
    async with adapter_to_talk_to() as adapter:
        for provider in ("openai", "anthropic"):
            response = await adapter.chat_async(
                "Invoice for ACME: 3 anvils and a rocket.", provider=provider, response_model=Invoice
            )
            invoice: Invoice = response.parsed
            print(f"{provider}: {invoice.customer}, {invoice.total}, {len(invoice.items)} items")


asyncio.run(main())
