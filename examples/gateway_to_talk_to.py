"""The gateway the examples talk to: yours where HELICONE_API_KEY is set, else a sandbox of our own, without any key."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from genops_helicone_async import GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import SandboxGateway


@asynccontextmanager
async def adapter_to_talk_to(**settings: object) -> AsyncIterator[GenOpsHeliconeAsyncAdapter]:
    """An adapter; the rest of each example is the same with a real gateway and with the sandbox."""
    if os.environ.get("HELICONE_API_KEY"):
        async with GenOpsHeliconeAsyncAdapter(**settings) as adapter:  # type: ignore[arg-type]
            yield adapter
        return
    async with (
        SandboxGateway(latency_scale=0.1) as sandbox,
        GenOpsHeliconeAsyncAdapter(
            sandbox.api_key,
            **{"gateway_url": sandbox.url, "helicone_api_url": sandbox.api_url, **settings},  # type: ignore[arg-type]
        ) as adapter,
    ):
        yield adapter
