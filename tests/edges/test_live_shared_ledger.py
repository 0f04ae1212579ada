"""`report --live` over the ledger that many machines share: a real server, another process writing."""

import json
from pathlib import Path

import live_processes
import valkey_server


def test_a_running_process_is_seen_through_a_shared_ledger() -> None:
    """What one process spends the other shows, exactly, with what is left of its budget."""
    live_processes.check_live(valkey_server.shared_url(), "live-shared-team")


def test_a_server_that_restarts_is_waited_for(tmp_path: Path) -> None:
    """While it is away the view says so and keeps its figures; when it is back, it goes on."""
    server = valkey_server.ValkeyServer(tmp_path, is_durable=True)
    server.start()
    try:
        with live_processes.Writer(server.url) as writer, live_processes.Live(server.url) as live:
            writer.spend("ml", 2)
            live.until("ml", 2)
            server.stop()
            seen = json.loads(live.line())
            while seen["trouble"] is None:
                seen = json.loads(live.line())
            assert seen["totals"]["attempts"] == 2
            server.start()
            while seen["trouble"] is not None:
                seen = json.loads(live.line())
            assert seen["totals"]["attempts"] == 2
            assert live.interrupt() == (0, "")
    finally:
        server.stop()
