"""`bulk` at its edges: every kind of input through the command, what it would cost, and what is told of it."""

import gzip
import json
from pathlib import Path

import pytest
from bulk_files import lines_of, standard_input

from genops_helicone_async._rules.strategies import STRATEGIES
from genops_helicone_async.cli import main
from genops_helicone_async.cli.options import _STRATEGIES
from genops_helicone_async.cli.pace import Standing
from genops_helicone_async.testing import Fault, SandboxGateway

PROMPTS = ["One", 'Two,\n"quoted"', "Drei 🧀"]


def write(path: str) -> None:
    """The prompts as a file of this kind."""
    cells = [prompt.replace('"', '""') for prompt in PROMPTS]
    table = "".join(f'"{cell}",{number}0,t\n' for number, cell in enumerate(cells, 1))
    text = f"message,max_tokens,team\n{table}"
    if path.endswith(".parquet"):
        import pyarrow as pa
        from pyarrow.parquet import write_table

        write_table(pa.table({"message": PROMPTS, "max_tokens": [10, 20, 30], "team": ["t"] * 3}), path)
    else:
        Path(path).write_bytes(gzip.compress(text.encode()) if path.endswith(".gz") else text.encode())


@pytest.mark.parametrize("path", ["in.csv", "in.csv.gz", "in.parquet"])
def test_tables_are_answered_as_rows(path: str, sandbox: SandboxGateway) -> None:
    """Each row once, with its own keywords, whatever the file."""
    write(path)
    assert main(["bulk", path, "-o", "out.jsonl", "--ordered", "--provider", "groq", "-q"]) == 0
    told = [row["response"]["body"]["choices"][0]["message"]["content"] for row in lines_of("out.jsonl")]
    assert [text.startswith("About '") for text in told] == [True] * 3
    sent = [json.loads(request.body) for request in sandbox.requests]
    assert sorted(body["messages"][0]["content"] for body in sent) == sorted(PROMPTS)
    assert sorted(body["max_tokens"] for body in sent) == [10, 20, 30]


def test_a_bad_row_of_a_table_is_told_with_its_line(
    sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error and in the errors file; the others are done."""
    Path("in.csv").write_bytes(b"message,max_tokens\nok,5\nx,many\ncaf\xe9,5\n")
    assert main(["bulk", "in.csv", "-o", "out.jsonl", "--provider", "groq"]) == 1
    reasons = {line["line"]: line["reason"] for line in lines_of("out.errors.jsonl")}
    assert reasons == {
        3: "`max_tokens` is 'many': it must be a whole number",
        4: "not UTF-8 at byte 4 of line 4 (0xE9); is it Latin-1 or Windows-1252?",
    }
    assert [line for line in capsys.readouterr().err.splitlines() if "skipped" in line] == [
        f"line {number} skipped: {reason}" for number, reason in reasons.items()
    ]
    assert [row["custom_id"] for row in lines_of("out.jsonl")] == ["line-2"]


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry"])
@pytest.mark.parametrize(
    "data, said",
    [(b"message,what\nx,y\n", "column 2, 'what'"), ("message\nx\n".encode("utf-16"), "is UTF-16")],
    ids=["column", "encoding"],
)
def test_a_wrong_pipe_is_wrong_usage(
    data: bytes, said: str, dry: list[str], sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is seen with its first bytes; nothing is sent, and nothing is left behind."""
    with standard_input(data):
        assert main(["bulk", "-", "-o", "out.jsonl", "--format", "csv", "--provider", "groq", *dry]) == 2
    assert said in capsys.readouterr().err
    assert sandbox.requests == ()
    assert list(Path().iterdir()) == []


def test_a_table_comes_through_standard_input(sandbox: SandboxGateway) -> None:
    """With `--format csv`, and the column of the prompts named."""
    options = ["--format", "csv", "--prompt-column", "question", "--ignore-columns", "id", "--provider", "groq"]
    with standard_input(b"id;question\n1;Hello\n"):
        assert main(["bulk", "-", "-o", "out.jsonl", "-q", *options]) == 0
    assert [row["custom_id"] for row in lines_of("out.jsonl")] == ["line-2"]


@pytest.mark.parametrize(
    "argv, said",
    [
        (["in.csv"], "in.csv: column 2, 'max_tokns', is no keyword of a chat. Did you mean 'max_tokens'?"),
        (["in.csv", "--prompt-column", "mesage"], "there is no column 'mesage': did you mean 'message'?"),
        (["-", "--format", "parquet"], "Parquet cannot be read from a pipe, for its footer comes last"),
        (["wide.csv"], "wide.csv is UTF-16: convert it first (iconv -f utf-16 -t utf-8)"),
        (["none.csv"], "cannot read none.csv: No such file or directory"),
    ],
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry"])
def test_a_wrong_input_is_wrong_usage(
    argv: list[str], dry: list[str], said: str, sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2 and one line with the remedy, before anything is sent or made."""
    Path("in.csv").write_text("message,max_tokns\nx,1\n")
    Path("wide.csv").write_text("message\nx\n", encoding="utf-16")
    ignored = ["--ignore-columns", "max_tokns"] if "--prompt-column" in argv else []
    assert main(["bulk", *argv, "-o", "out.jsonl", *dry, *ignored]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert not Path("out.jsonl").exists()
    assert sandbox.requests == ()


def test_a_dry_run_needs_no_key_and_sends_nothing(
    sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, cost at most and as expected, what the limit cuts, the time, what cannot be sent; no file, no request."""
    monkeypatch.delenv("HELICONE_API_KEY")
    rows = [{"message": f"Question {number:04d}"} for number in range(500)] + [{"message": "Question 0001"}]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "oops\n")
    options = ["--providers", "openai,anthropic", "--max-tokens", "100", "--requests-per-minute", "60"]
    assert main(["bulk", "in.jsonl", "--dry-run", "--max-cost", "0.02", *options]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == (
        "in.jsonl: 500 rows to send; 1 row equal to an earlier one, answered with it; 1 that cannot be sent:"
    )
    assert lines[1] == "  line 502: not JSON: invalid character (byte 0)"
    assert lines[2] == "What it would cost, estimated"
    assert lines[-1] == "Nothing was sent."
    assert "Time: about 8 min, by --requests-per-minute 60" in lines
    (limit,) = [line for line in lines if line.startswith("--max-cost")]
    assert limit.startswith("--max-cost $0.0200 is likely to end it after ")
    assert err == ""
    assert sandbox.requests == ()
    assert sorted(path.name for path in Path().iterdir()) == ["in.jsonl"]


def test_what_a_dry_run_says_is_what_a_run_keeps_to(
    sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bill is below the worst case; about as many tokens go in as were counted; rows are those sent."""
    Path("in.jsonl").write_text("".join(json.dumps({"message": f"Question {n}"}) + "\n" for n in range(40)))
    options = ["--provider", "openai", "--max-tokens", "60", "--json"]
    assert main(["bulk", "in.jsonl", "--dry-run", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sandbox.requests == ()
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl", "-q", *options]) == 0
    came = json.loads(capsys.readouterr().out)
    (model,) = told["by_model"]
    assert (told["sent"], model["rows"], came["rows"]["ok"]) == (0, 40, 40)
    assert abs(model["input_tokens"] - came["input_tokens"]) <= 40  # the sandbox counts in its own way
    assert came["cost_usd"] <= told["worst_case_cost_usd"]


def test_a_dry_run_refuses_who_cannot_be_asked(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A provider that nobody knows is wrong usage, as it is for a run."""
    Path("in.jsonl").write_text('{"message": "x"}\n')
    assert main(["bulk", "in.jsonl", "--dry-run", "--provider", "opnai"]) == 2
    assert "opnai" in capsys.readouterr().err


def test_rows_are_spread_by_the_strategy(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """`--strategy` says who is asked first, in a dry run as in a run; the names are those that routing has."""
    Path("in.jsonl").write_text("".join(json.dumps({"message": f"Question {n}"}) + "\n" for n in range(30)))
    options = ["--providers", "openai,groq,anthropic", "--strategy", "round_robin", "--json"]
    assert main(["bulk", "in.jsonl", "--dry-run", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["rows"] for one in told["by_model"]] == [10, 10, 10]
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl", "-q", *options]) == 0
    came = json.loads(capsys.readouterr().out)
    assert {name: one["asked"] for name, one in came["by_provider"].items()} == {
        "anthropic": 10, "groq": 10, "openai": 10,
    }  # fmt: skip
    assert tuple(sorted(STRATEGIES)) == _STRATEGIES


def test_progress_for_a_machine(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line of standard error is an object, the last one is over and has all rows; bad lines are notes."""
    Path("in.jsonl").write_text('{"message": "x"}\n{"message": "y"}\noops\n')
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl", "--provider", "groq", "--json-progress", "--json"]) == 1
    out, err = capsys.readouterr()
    told = [json.loads(line) for line in err.splitlines()]
    assert {"note": "line 3 skipped: not JSON: invalid character (byte 0)"} in told
    standings = [one for one in told if "note" not in one]
    assert [one["over"] for one in standings][-1] is True
    assert set(standings[-1]) == set(Standing.__struct_fields__)
    last = standings[-1]
    assert (last["rows_total"], last["rows_done"], last["rows_answered"], last["rows_skipped"]) == (3, 3, 2, 1)
    assert last["cost_usd"] == json.loads(out)["cost_usd"]


def test_the_report_of_a_resumed_job_covers_all_runs(
    sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """What failed in the first run and was sent again in the second is one page with the figures of both."""
    rows = [{"message": f"Question {n}", "provider": "groq"} for n in range(20)]
    Path("in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sandbox.faults.add(Fault(kind="status", provider="groq", status=400, body="no such thing", times=5))
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl", "-q"]) == 1
    capsys.readouterr()
    argv = ["bulk", "in.jsonl", "-o", "out.jsonl", "-q", "--retry-failed", "--json", "--report", "job.html"]
    assert main(argv) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"]["ok"], told["runs"], told["cost_pusd"]) == (20, 2, sandbox.bill.total_pusd)
    page = Path("job.html").read_text(encoding="utf-8")
    assert ", in 2 runs" in page
    assert told["by_provider"]["groq"]["asked"] == len(sandbox.requests) == 25
    assert main([*argv[:-1], "in.jsonl"]) == 2


def test_an_output_is_needed_to_run(sandbox: SandboxGateway, capsys: pytest.CaptureFixture[str]) -> None:
    """Only a dry run does without."""
    Path("in.jsonl").write_text('{"message": "x"}\n')
    assert main(["bulk", "in.jsonl"]) == 2
    assert "give -o OUTPUT.jsonl" in capsys.readouterr().err
