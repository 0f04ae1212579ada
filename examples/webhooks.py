"""Alerts to a webhook, signed as Standard Webhooks ask: the receiver here is a small server of our own."""

import asyncio
import base64
import hashlib
import hmac
import json
import os

from gateway_to_talk_to import adapter_to_talk_to

SECRET = "whsec_" + base64.b64encode(os.urandom(32)).decode()


def is_genuine(headers: dict[str, str], body: bytes) -> bool:
    """What any library of standardwebhooks.com does; a real receiver also checks that the timestamp is recent."""
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    digest = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), signed, hashlib.sha256)
    return hmac.compare_digest(headers["webhook-signature"], f"v1,{base64.b64encode(digest).decode()}")


async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes one alert, and tells of it."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    alert = json.loads(body)
    facts = ", ".join(f"{name}={value}" for name, value in alert["data"].items() if name != "window")
    print(f"{alert['type']} ({'genuine' if is_genuine(headers, body) else 'FORGED'}): {facts}")
    writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    writer.close()


async def main() -> None:
    receiver = await asyncio.start_server(receive, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{receiver.sockets[0].getsockname()[1]}"
    async with receiver, adapter_to_talk_to() as adapter:
        adapter.configure_webhooks(
            cost_alert_webhook=f"{url}/cost-alerts",
            performance_webhook=f"{url}/performance",
            triggers={
                "high_cost": {"threshold": 0.0001, "timeframe": "hourly"},
                "slow_response": {"threshold": 1, "unit": "ms"},
            },
            secret=SECRET,
        )
        for number in range(10):  # each trigger fires once, when its threshold is passed
            await adapter.chat_async(f"Task {number}", provider="openai")
        print(f"closing delivers what is still waiting: {adapter.statistics().webhooks.dropped} dropped so far")


asyncio.run(main())
