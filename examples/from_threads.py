"""Synchronous code, several threads, one engine."""

from concurrent.futures import ThreadPoolExecutor

from genops_helicone_async import GenOpsHeliconeAdapter
from genops_helicone_async.testing import SandboxGateway

with (
    SandboxGateway.in_thread(latency_scale=0.1) as sandbox,
    GenOpsHeliconeAdapter(sandbox.api_key, gateway_url=sandbox.url) as adapter,
    ThreadPoolExecutor(8) as pool,
):
    answers = list(pool.map(lambda name: adapter.chat(f"Greet {name}.", provider="groq"), ["Ada", "Alan", "Grace"]))
    for answer in answers:
        print(answer.content[:60])
    print(f"${sum(answer.cost for answer in answers):.6f}")
