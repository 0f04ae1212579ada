"""The sandbox's batch endpoints as the providers' own clients meet them, and what they put on the bill."""

import io
import json

import anthropic
import httpx
import openai
import pytest

from genops_helicone_async.testing import Fault, SandboxGateway

pytestmark = pytest.mark.anyio


def openai_client(sandbox: SandboxGateway) -> openai.AsyncOpenAI:
    """OpenAI's client at its proxy host."""
    url = sandbox.provider_urls["openai"]
    return openai.AsyncOpenAI(base_url=url, api_key=sandbox.provider_keys["openai"], max_retries=0)


def anthropic_client(sandbox: SandboxGateway) -> anthropic.AsyncAnthropic:
    """Anthropic's client at its proxy host."""
    url = sandbox.provider_urls["anthropic"].removesuffix("/v1")
    return anthropic.AsyncAnthropic(base_url=url, api_key=sandbox.provider_keys["anthropic"], max_retries=0)


async def result_types(sandbox: SandboxGateway, batch_id: str) -> dict[str, str]:
    """The type of each row's result. By hand: the client would ask Anthropic itself, whose URL a batch tells."""
    url = f"{sandbox.provider_urls['anthropic']}/messages/batches/{batch_id}/results"
    async with httpx.AsyncClient(headers={"x-api-key": sandbox.provider_keys["anthropic"]}) as client:
        lines = (await client.get(url)).text.splitlines()
    return {line["custom_id"]: line["result"]["type"] for line in map(json.loads, lines)}


def openai_rows(count: int, model: str = "gpt-4o-mini") -> bytes:
    """An input file."""
    rows = [
        {
            "custom_id": f"row-{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": model, "messages": [{"role": "user", "content": f"Say {number}"}], "max_tokens": 9},
        }
        for number in range(count)
    ]
    return "\n".join(map(json.dumps, rows)).encode()


def anthropic_rows(count: int) -> list[dict[str, object]]:
    """The requests of a message batch."""
    params = {"model": "claude-3-haiku-20240307", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    return [{"custom_id": f"row_{number}", "params": params} for number in range(count)]


async def openai_batch(client: openai.AsyncOpenAI, data: bytes) -> openai.types.Batch:
    """A batch over an uploaded file."""
    file = await client.files.create(file=("in.jsonl", io.BytesIO(data)), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"mark": "m"}
    )


async def test_openai_client_gets_its_rows_back(sandbox: SandboxGateway) -> None:
    """A batch is created, completes, and its output file has an answer for every row."""
    async with openai_client(sandbox) as client:
        batch = await openai_batch(client, openai_rows(3))
        assert (batch.status, batch.metadata) == ("in_progress", {"mark": "m"})
        done = await client.batches.retrieve(batch.id)
        assert (done.status, done.request_counts.completed, done.error_file_id) == ("completed", 3, None)
        lines = (await client.files.content(done.output_file_id)).text.splitlines()
        assert [json.loads(line)["custom_id"] for line in lines] == ["row-0", "row-1", "row-2"]
        assert [listed.id for listed in (await client.batches.list()).data] == [batch.id]


async def test_rows_of_a_batch_are_billed_once_at_half_price(sandbox: SandboxGateway) -> None:
    """Looking again and fetching again bills nothing more; a row costs half of the same live call."""
    async with openai_client(sandbox) as client:
        batch = await openai_batch(client, openai_rows(1))
        for _ in range(3):
            done = await client.batches.retrieve(batch.id)
            await client.files.content(done.output_file_id)
        body = json.loads(openai_rows(1))["body"]
        await client.chat.completions.create(**body)
    batched, live = sandbox.bill.rows
    assert (batched.kind, batched.request_id) == ("batch", f"{batch.id}/row-0")
    assert live.kind == "chat"
    assert (batched.input_tokens, batched.output_tokens) == (live.input_tokens, live.output_tokens)
    assert 2 * batched.cost_pusd == live.cost_pusd


async def test_anthropic_client_gets_its_rows_back(sandbox: SandboxGateway) -> None:
    """Counts stay at `processing` until the batch ends; then every row has its result."""
    async with anthropic_client(sandbox) as client:
        sandbox.batches.stall()
        batch = await client.messages.batches.create(requests=anthropic_rows(2))
        assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 2)
        sandbox.batches.work(1)
        assert (await client.messages.batches.retrieve(batch.id)).request_counts.processing == 2
        sandbox.batches.resume()
        done = await client.messages.batches.retrieve(batch.id)
        assert (done.processing_status, done.request_counts.succeeded) == ("ended", 2)
        assert done.results_url == f"https://api.anthropic.com/v1/messages/batches/{batch.id}/results"
    assert await result_types(sandbox, batch.id) == {"row_0": "succeeded", "row_1": "succeeded"}
    assert [row.kind for row in sandbox.bill] == ["batch", "batch"]


async def test_cancelled_openai_batch_keeps_what_was_done(sandbox: SandboxGateway) -> None:
    """A cancelled batch passes through `cancelling`; rows that were not reached are in the error file, unbilled."""
    async with openai_client(sandbox) as client:
        sandbox.batches.stall()
        batch = await openai_batch(client, openai_rows(3))
        sandbox.batches.work(1)
        assert (await client.batches.cancel(batch.id)).status == "cancelling"
        assert (await client.batches.retrieve(batch.id)).status == "cancelling"
        done = await client.batches.retrieve(batch.id)
        assert (done.status, done.request_counts.completed) == ("cancelled", 1)
        lines = (await client.files.content(done.error_file_id)).text.splitlines()
        assert [json.loads(line)["error"]["code"] for line in lines] == ["batch_cancelled", "batch_cancelled"]
        assert len(sandbox.bill) == 1


async def test_cancelled_and_expired_anthropic_batches_say_so_per_row(sandbox: SandboxGateway) -> None:
    """Rows that were not reached are `canceled` in a cancelled batch and `expired` in one that ran out of time."""
    async with anthropic_client(sandbox) as client:
        sandbox.batches.stall()
        cancelled = await client.messages.batches.create(requests=anthropic_rows(2))
        sandbox.batches.work(1)
        await client.messages.batches.cancel(cancelled.id)
        for _ in range(2):
            await client.messages.batches.retrieve(cancelled.id)
        expired = await client.messages.batches.create(requests=anthropic_rows(1))
        sandbox.batches.pass_time(86_401)
        await client.messages.batches.retrieve(expired.id)
    assert await result_types(sandbox, cancelled.id) == {"row_0": "succeeded", "row_1": "canceled"}
    assert await result_types(sandbox, expired.id) == {"row_0": "expired"}


async def test_bad_input_file_fails_the_whole_batch(sandbox: SandboxGateway) -> None:
    """A file that mixes models or has a line that is no JSON is refused with the line, and nothing is billed."""
    async with openai_client(sandbox) as client:
        batch = await openai_batch(client, openai_rows(1) + b"\nnot json\n" + openai_rows(1, "gpt-4o"))
    assert batch.status == "failed"
    assert [(problem.code, problem.line) for problem in batch.errors.data] == [
        ("invalid_json_line", 2),
        ("duplicate_custom_id", 3),
        ("mismatched_model", None),
    ]
    assert len(sandbox.bill) == 0


async def test_faults_strike_creations_and_rows(sandbox: SandboxGateway) -> None:
    """A fault with the model `batches` refuses a creation; one with a real model fails a row."""
    sandbox.faults.add(Fault(kind="status", status=429, retry_after=7, model="batches", times=1))
    sandbox.faults.add(Fault(kind="status", status=500, model="claude-3-haiku-20240307", times=1, after=1))
    async with anthropic_client(sandbox) as client:
        with pytest.raises(anthropic.RateLimitError) as refused:
            await client.messages.batches.create(requests=anthropic_rows(2))
        batch = await client.messages.batches.create(requests=anthropic_rows(3))
        done = await client.messages.batches.retrieve(batch.id)
        assert (done.request_counts.succeeded, done.request_counts.errored) == (2, 1)
    assert refused.value.response.headers["retry-after"] == "7"
    assert len(sandbox.bill) == 2


async def test_cut_creation_has_begun_a_batch(sandbox: SandboxGateway) -> None:
    """Where the answer to a creation breaks off, the batch is there, and runs."""
    sandbox.faults.add(Fault(kind="reset_mid_body", model="batches", times=1))
    async with anthropic_client(sandbox) as client:
        with pytest.raises(anthropic.APIConnectionError):
            await client.messages.batches.create(requests=anthropic_rows(2))
        listed = (await client.messages.batches.list()).data
    assert [batch.request_counts.succeeded for batch in listed] == [2]


async def test_batch_takes_simulated_time(sandbox: SandboxGateway) -> None:
    """Half of the time is half of the rows; a list may lag behind."""
    sandbox.batches.seconds, sandbox.batches.unlisted_looks = 3600.0, 1
    async with openai_client(sandbox) as client:
        batch = await openai_batch(client, openai_rows(4))
        assert (await client.batches.list()).data == []
        sandbox.batches.pass_time(1801)
        assert (await client.batches.retrieve(batch.id)).request_counts.completed == 2
        sandbox.batches.pass_time(1800)
        assert (await client.batches.list()).data[0].status == "completed"
