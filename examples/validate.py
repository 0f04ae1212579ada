"""Whether a setup works, before the first call: what is in order, what is not, and what to do next."""

import os

from genops_helicone_async import print_validation_result, validate_setup
from genops_helicone_async.testing import SandboxGateway

if os.environ.get("HELICONE_API_KEY"):
    result = validate_setup()
    print_validation_result(result, detailed=True)
else:  # a sandbox of our own, where the billed calls cost nothing
    with SandboxGateway.in_thread(latency_scale=0.1) as sandbox:
        setup = {"helicone_api_key": sandbox.api_key, "gateway_url": sandbox.url}
        result = validate_setup(include_performance_tests=True, announce=print, **setup)
        print_validation_result(result, detailed=True)

        broken = validate_setup(helicone_api_key="not-a-key", gateway_url=sandbox.url)
        print("\nWith a wrong key:", *(f"{check.title}: {check.summary}" for check in broken.failures))
        print("What to do:", broken.recommendations[0])
