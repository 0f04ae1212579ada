"""`bulk --ray` before anything is sent: what does not go together is refused, with the remedy."""

import socket
import sys
from pathlib import Path

import pytest

from genops_helicone_async.cli import main

pytestmark = pytest.mark.usefixtures("_job")


@pytest.fixture
def _job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key, and an input of one row in the working folder."""
    monkeypatch.setenv("HELICONE_API_KEY", "sk-helicone-sandbox-onray01-onray02-onray03")
    monkeypatch.setenv("HELICONE_GATEWAY_URL", "http://127.0.0.1:1")
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text('{"message": "Hi"}\n', encoding="utf-8")


def refusal(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What a command line is refused with."""
    assert main(["bulk", "in.jsonl", "-o", "out.jsonl", *options]) == 2
    assert [path.name for path in Path().iterdir()] == ["in.jsonl"]
    return capsys.readouterr().err


def test_workers_need_a_ray(capsys: pytest.CaptureFixture[str]) -> None:
    """A number of workers alone says nothing."""
    assert refusal(capsys, "--ray-workers", "3") == (
        "error: --ray-workers needs --ray ADDRESS, such as --ray local\n"
    )  # fmt: skip


@pytest.mark.parametrize("via", ["batch", "auto"])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry"])
def test_batches_do_not_go_over_ray(via: str, dry: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The provider does the work there; that is said before anything is opened, and of an estimate, too."""
    told = refusal(capsys, "--ray", "local", "--via", via, *dry)
    assert told == f"error: --ray sends rows live: it does not go with --via {via}\n"


def test_without_ray_the_command_that_installs_it_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has not the extra."""
    monkeypatch.setitem(sys.modules, "ray", None)
    told = refusal(capsys, "--ray", "local")
    assert told == "error: Ray is not installed: pip install 'genops-helicone-async[ray,redis]'\n"


def test_limits_need_a_shared_store(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each worker would keep to them by itself."""
    pytest.importorskip("ray", reason="needs ray, which has no wheel for every Python: pip install ray")
    told = refusal(capsys, "--ray", "local", "--requests-per-minute", "60")
    assert "the sum would pass them: give state_url='redis://host:6379/0', or set GENOPS_STATE_URL" in told
    monkeypatch.setenv("GENOPS_STATE_URL", "sqlite:///ledger.db")
    assert "`state_url` is a file of this machine" in refusal(capsys, "--ray", "local")


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_nobody_listens_is_told_at_once(scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Ray itself would try for minutes, and then end the process without a word of ours."""
    pytest.importorskip("ray", reason="needs ray, which has no wheel for every Python: pip install ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        told = refusal(capsys, "--ray", address)
    assert told == f"error: no Ray at {address!r}: Connection refused (`local` starts one on this machine)\n"
