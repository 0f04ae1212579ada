"""`chat`: the answer on standard output, the receipt on standard error, each failure one line."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest

from genops_helicone_async.cli import main
from genops_helicone_async.cli.money import exact_usd
from genops_helicone_async.testing import Fault, SandboxGateway


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxGateway]:
    """A sandbox that answers at once, set as the gateway of the environment."""
    with SandboxGateway.in_thread(latency_scale=0) as running:
        monkeypatch.setenv("HELICONE_GATEWAY_URL", running.url)
        monkeypatch.setenv("HELICONE_API_KEY", running.api_key)
        yield running


def test_the_answer_and_what_it_cost(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output is the answer alone; the receipt shows tokens and the exact cost that was billed."""
    assert main(["chat", "Say hello", "--provider", "groq"]) == 0
    out, err = capsys.readouterr()
    (row,) = gateway.bill.rows
    assert out.startswith("About 'Say hello': ")
    assert re.sub(r"\d+\.\d\d s", "N s", err) == (
        f"groq llama-3.1-8b-instant · {row.input_tokens} in + {row.output_tokens} out tokens · "
        f"{exact_usd(row.cost_pusd)} · N s\n"
    )


def test_json_holds_answer_usage_and_receipt(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` is one object with all a program may want, and nothing on standard error."""
    assert main(["chat", "Hi", "--provider", "openai", "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert (err, told["provider"], told["model"], told["finish_reason"]) == ("", "openai", "gpt-4o-mini", "stop")
    assert round(Decimal(str(told["cost_usd"])) * 10**12) == gateway.bill.total_pusd
    assert [attempt["status_code"] for attempt in told["attempts"]] == [200]


def test_a_stream_is_the_same_answer(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """The pieces of `--stream --json` make up the content of the object that follows them."""
    assert main(["chat", "Hi", "--provider", "groq", "--stream", "--json"]) == 0
    *pieces, whole = map(json.loads, capsys.readouterr().out.splitlines())
    assert "".join(piece["delta"] for piece in pieces) == whole["content"]
    assert len(pieces) > 1


def test_a_streamed_text_ends_with_one_line_break(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """What follows on the terminal begins on a line of its own."""
    assert main(["chat", "Hi", "--provider", "groq", "--stream"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("About 'Hi': ")
    assert out == out.rstrip("\n") + "\n"


def test_options_reach_the_request(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Model, system prompt, token limit and temperature are sent as given."""
    argv = [
        "--provider",
        "openai",
        "--model",
        "gpt-4o",
        "--system",
        "Be brief",
        "--max-tokens",
        "9",
        "--temperature",
        "0.5",
    ]
    assert main(["chat", "Hi", *argv]) == 0
    body = json.loads(gateway.requests[0].body)
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("gpt-4o/openai", 9, 0.5)
    assert body["messages"] == [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]
    assert capsys.readouterr().err.endswith(" · cut off at the token limit\n")


def test_models_by_provider_and_failover(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """`--model P=M` gives each provider its own model; the receipt tells from whom the call moved on."""
    gateway.faults.add(Fault(kind="status", provider="openai", status=503))
    argv = ["--providers", "openai,groq", "--model", "openai=gpt-4.1-mini", "--model", "groq=llama-3.3-70b-versatile"]
    assert main(["chat", "Hi", *argv]) == 0
    err = capsys.readouterr().err
    assert err.startswith("groq llama-3.3-70b-versatile · ")
    assert err.endswith(" · after openai 503\n")
    assert [json.loads(seen.body)["model"].split("/")[0] for seen in gateway.requests] == [
        "gpt-4.1-mini",
        "llama-3.3-70b-versatile",
    ]


def test_an_estimated_cost_is_marked(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the provider reports no usage, the receipt says that its cost is an estimate."""
    gateway.faults.add(Fault(kind="wrong_usage", body="missing"))
    assert main(["chat", "Hi", "--provider", "groq"]) == 0
    assert " (estimated) · " in capsys.readouterr().err


def test_the_message_from_standard_input(gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads the message as UTF-8 from standard input, its line breaks included."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Grüße\n你好".encode())))
    assert main(["chat", "-", "--provider", "groq"]) == 0
    assert json.loads(gateway.requests[0].body)["messages"][0]["content"] == "Grüße\n你好"


@pytest.mark.parametrize(
    "data, said",
    [
        (b"caf\xe9", "standard input is not UTF-8 (byte 3): convert it first, for example with iconv -t utf-8"),
        (b" \n", "`message` is empty: give the text to send"),
    ],
)
def test_unusable_standard_input(
    data: bytes, said: str, gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no text is refused before anything is sent."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["chat", "-"]) == 2
    assert capsys.readouterr() == ("", f"error: {said}\n")
    assert gateway.requests == ()


@pytest.mark.parametrize(
    "argv, said",
    [
        (["hi", "--max-tokens", "0"], "`max_tokens` is 0: it must be 1 or more"),
        (["hi", "--temperature", "nan"], "`temperature` is nan: it must be between 0 and 2"),
        (["hi", "--gateway-url", "ftp://x"], "`gateway_url` is 'ftp://x': give an http(s) URL such as https://ai-gateway.helicone.ai"),
        (["hi", "--model", "a", "--model", "b"], "--model is given twice: a and b"),
        (["hi", "--model", "=b"], "--model '=b' is not PROVIDER=MODEL"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(
    argv: list[str], said: str, gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that makes no sense is status 2, one line, and no request."""
    assert main(["chat", *argv]) == 2
    assert capsys.readouterr() == ("", f"error: {said}\n")
    assert gateway.requests == ()


def test_without_a_key_the_remedy_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """No key at all is wrong usage, and the line names the variable and the demo."""
    assert main(["chat", "hi"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: no key to authenticate with: ")
    assert "HELICONE_API_KEY" in err
    assert "demo" in err


def test_an_unknown_provider_is_wrong_usage(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt provider is status 2, with the known ones."""
    assert main(["chat", "hi", "--provider", "opnai"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: `provider` names the unknown provider 'opnai': known are anthropic, "
    )


def test_a_refused_key_says_which(
    gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key that the gateway does not know is a failure of the work, with the variable to look at."""
    monkeypatch.setenv("HELICONE_API_KEY", "sk-helicone-aaaaaaa-aaaaaaa-aaaaaaa-aaaaaaa")
    assert main(["chat", "hi"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.endswith(": check HELICONE_API_KEY\n")


def test_a_gateway_that_is_not_there(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is status 1, and the line says which option to look at."""
    monkeypatch.setenv("HELICONE_API_KEY", "sk-helicone-aaaaaaa-aaaaaaa-aaaaaaa-aaaaaaa")
    assert main(["chat", "hi", "--provider", "groq", "--gateway-url", "http://127.0.0.1:9", "--timeout", "0.5"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: no connection to 127.0.0.1:9 ")
    assert err.endswith(": check --gateway-url (or HELICONE_GATEWAY_URL) and the network\n")


def test_a_deadline_names_its_option(gateway: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A call that takes too long says which option gives it more time."""
    gateway.faults.add(Fault(kind="hang"))
    assert main(["chat", "hi", "--provider", "groq", "--timeout", "0.5"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.endswith(": raise --timeout\n")


def test_a_reader_that_goes_away_is_no_traceback(gateway: SandboxGateway) -> None:
    """A pipe that is closed before the answer comes is a failure without a word."""
    child = subprocess.Popen(
        [sys.executable, "-m", "genops_helicone_async", "chat", "hi", "--provider", "groq", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.close()
    _, err = child.communicate()
    assert (child.returncode, err) == (1, b"")


def test_a_terminal_without_unicode(gateway: SandboxGateway) -> None:
    """What a terminal cannot show is escaped, and no reason to fail."""
    program = "import sys\nfrom genops_helicone_async.cli import main\nsys.exit(main(sys.argv[1:]))"
    argv = [sys.executable, "-c", program, "chat", "héllo ✓", "--provider", "groq"]
    done = subprocess.run(argv, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert done.stdout.startswith(rb"About 'h\xe9llo \u2713': ")
