"""Webhooks in a process that forks: who alerts of what."""

import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = textwrap.dedent(
    """
    import os, warnings
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Event, Thread
    from genops_helicone_async import GenOpsHeliconeAdapter
    from genops_helicone_async.testing import SandboxGateway

    warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork: the point of this
    taken, arrived = [], Event()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()
            arrived.set()

        def log_message(self, *about):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    with SandboxGateway.in_thread(latency_scale=0) as sandbox:
        adapter = GenOpsHeliconeAdapter(sandbox.api_key, gateway_url=sandbox.url)
        url = f"http://127.0.0.1:{server.server_port}/"
        adapter.configure_webhooks(performance_webhook=url, triggers={"slow_response": {"threshold": 1e-6}})
        adapter.chat("Hi", provider="openai")
        arrived.wait()
        child = os.fork()
        if child == 0:
            adapter.chat("Hi", provider="anthropic")
            adapter.close()
            told = adapter._parts.side.webhook_statistics()
            os._exit(0 if (told.dropped, told.waiting) == (0, 0) else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        adapter.close()
    print(*sorted(b"anthropic" in body for body in taken))
    """
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_alerts_of_its_own_calls() -> None:
    """Each alert arrives once, the parent's from the parent and the child's from the child."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\nFalse True\n", "")
