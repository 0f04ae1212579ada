"""The command line as a whole: version, help, statuses, one line for each mistake, and nothing heavy loaded early."""

import json
import subprocess
import sys

import pytest

from genops_helicone_async.cli import main

COMMANDS = ("bulk", "chat", "demo", "sandbox")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` names the distribution and its version."""
    from genops_helicone_async import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"genops-helicone-async {__version__}\n", "")


def test_the_module_runs_the_same_commands() -> None:
    """`python -m genops_helicone_async` is the script, and says so in its help."""
    done = subprocess.run([sys.executable, "-m", "genops_helicone_async", "--help"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m genops_helicone_async [-h] [--version] COMMAND ...\n")


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command there is nothing to do: the help, on standard error, and status 2."""
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`COMMAND --help` is success and tells of `--json`."""
    assert main([command, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, said",
    [
        (["chat"], "the following arguments are required: MESSAGE"),
        (["chat", "hi", "--max-tokens", "many"], "argument --max-tokens: invalid int value: 'many'"),
        (["chat", "", "--provider=a", "--providers=b"], "argument --providers: not allowed with argument --provider"),
        (["chat", "", "--providers", "a,"], "argument --providers: 'a,' has an empty name: write them as openai,groq"),
        (["chat", "hi", "--provider-url", "openai"], "argument --provider-url: 'openai' is not PROVIDER=URL"),
        (["bulk"], "the following arguments are required: INPUT"),
        (["bulk", "in.jsonl", "-o", "out.jsonl", "--max-in-flight", "0"], "argument --max-in-flight: 0 is less than 1"),
        (["demo", "--speed", "0"], "argument --speed: 0 is not above 0"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake on the command line is status 2 and one line that says what, and where all options are."""
    assert main(argv) == 2
    assert capsys.readouterr() == ("", f"error: {said} (all options: {_name()} {argv[0]} --help)\n")


def _name() -> str:
    from genops_helicone_async.cli.program import program

    return program()


def test_an_unknown_command_names_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt command is status 2 and one line with the commands there are."""
    assert main(["chta"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert [command for command in COMMANDS if f"'{command}'" in err or command in err] == list(COMMANDS)


def test_help_loads_nothing_heavy() -> None:
    """Asking for help does not wait for libraries that only a call needs."""
    program = (
        "import json, sys\nfrom genops_helicone_async.cli import main\n"
        "main(['--help'])\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert sorted(set(json.loads(done.stderr)) & {"aiohttp", "anyio", "genai_prices", "opentelemetry", "rich"}) == []
