"""A provider that breaks its streams after they began is unwell, too: its circuit opens like any other's."""

import pytest

from genops_helicone_async import GenOpsHeliconeAsyncAdapter, StreamInterruptedError
from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio


async def read(adapter: GenOpsHeliconeAsyncAdapter) -> None:
    """Reads a whole stream."""
    async with adapter.stream_async("Tell a long story", provider="openai") as stream:
        async for _chunk in stream:
            pass


async def test_broken_streams_open_the_circuit() -> None:
    """After five in a row the next call goes to the other provider at once."""
    async with (
        SandboxGateway(latency_scale=0) as gateway,
        GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter,
    ):
        gateway.faults.add(Fault(kind="error_event", provider="openai", at_chunk=2))
        for _ in range(5):
            with pytest.raises(StreamInterruptedError):
                await read(adapter)
        (health,) = [each for each in adapter.statistics().health if each.provider == "openai"]
        assert (health.circuit, health.failures, health.in_flight) == ("open", 5, 0)
        response = await adapter.chat_async("Hello", providers=["openai", "groq"])
        assert (response.provider, len(response.attempts)) == ("groq", 1)
