"""The prices shipped with the package against the price book, and when the table keeps silent."""

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import genai_prices
import msgspec
import pytest

from genops_helicone_async._edges import price_table
from genops_helicone_async._edges.price_book import PriceBook
from genops_helicone_async._edges.price_table import TABLE, PriceTable, Row, Table, digest_of_installed
from genops_helicone_async._providers import PROVIDERS
from genops_helicone_async._rules.prices import Price, Rates

SHIPPED = msgspec.json.decode(TABLE.read_bytes(), type=Table)
is_of_these_lists = pytest.mark.skipif(
    SHIPPED.digest != digest_of_installed(),
    reason=f"the table is {SHIPPED.source}'s, installed is {genai_prices.__version__}: tools/make_price_table.py",
)


def rows() -> dict[tuple[str, str], Row]:
    """Every row by provider and model."""
    return {
        (provider, model): row
        for provider, raw in SHIPPED.rows.items()
        for model, row in msgspec.json.decode(raw, type=dict[str, Row]).items()
    }


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not imported the library, as far as the table can tell."""
    monkeypatch.delitem(sys.modules, "genai_prices")


@is_of_these_lists
def test_every_row_is_what_the_price_book_finds_while_the_row_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its first and last moment and at two in between, dates and sources included."""
    moments = [datetime(2026, 11, 24, 9, tzinfo=UTC).timestamp(), datetime(2026, 12, 31, 23, tzinfo=UTC).timestamp()]
    moment = 0.0
    book, table, compared = PriceBook(clock=lambda: moment), PriceTable(), 0
    for (provider, model), row in rows().items():
        edges = [row.since_s or moments[0], moments[0] if row.until_s is None else row.until_s - 1]
        for moment in {*moments, *edges} if row.since_s or row.until_s else moments:
            with monkeypatch.context() as alone:
                alone.delitem(sys.modules, "genai_prices")
                answer = table.find(provider, model, moment)
            if answer is not None:
                compared += 1
                assert answer == book.resolve_now(provider, model)
    assert compared > 2 * 2_500


@is_of_these_lists
@pytest.mark.usefixtures("alone")
def test_the_models_we_choose_ourselves_are_in_the_table() -> None:
    """But for those whose price changes with the hour, and those that stand in no list."""
    asked = {name: provider.default_model for name, provider in PROVIDERS.items()}
    table, now_s = PriceTable(), datetime(2026, 11, 24, 9, tzinfo=UTC).timestamp()
    assert {name for name, model in asked.items() if table.find(name, model, now_s) is None} == {
        "deepinfra",
        "deepseek",
    }


@pytest.mark.usefixtures("alone")
def test_a_row_is_silent_outside_its_time(tmp_path: Path) -> None:
    """The moment a listed change comes, the library is asked."""
    row = Row(tiers=((0, (1, 2, 1, 1, 1, 2, 0)),), since_s=1000.0, until_s=2000.0)
    raw = msgspec.Raw(msgspec.json.encode({"x": row}))
    digest = digest_of_installed()
    assert digest is not None
    path = tmp_path / "table.json"
    path.write_bytes(
        msgspec.json.encode(Table(digest=digest, source="lists", change_dates=("1970-01-01",), rows={"acme": raw}))
    )
    found = {at_s: PriceTable(path).find("acme", "x", at_s) for at_s in (999.9, 1000.0, 1999.9, 2000.0)}
    assert [at_s for at_s, price in found.items() if price is not None] == [1000.0, 1999.9]
    assert found[1000.0] == Price(
        provider="acme",
        model="x",
        tiers=((0, Rates(input=1, output=2, cache_read=1, cache_write=1, cache_write_1h=1, reasoning=2)),),
        source="lists",
        date="1970-01-01",
        valid_until_s=2000.0,
    )


def test_the_table_is_silent_once_the_library_is_there() -> None:
    """It may have fetched newer prices, and asking it costs nothing any more."""
    assert "genai_prices" in sys.modules
    assert PriceTable().find("openai", "gpt-4o", 1.8e9) is None


@pytest.mark.usefixtures("alone")
def test_lists_that_differ_in_a_byte_are_not_those_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever their version says."""
    copy = tmp_path / "genai_prices"
    shutil.copytree(Path(genai_prices.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(str(tmp_path))
    same = digest_of_installed()
    data = copy / "data.py"
    data.write_bytes(data.read_bytes().replace(b"Decimal('2.5')", b"Decimal('2.6')", 1))
    assert digest_of_installed() != same
    table = tmp_path / "table.json"
    table.write_bytes(msgspec.json.encode(msgspec.structs.replace(SHIPPED, digest=same)))
    assert PriceTable(table).find("openai", "gpt-4o", 1.8e9) is None


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"digest": 1}'])
def test_a_table_that_cannot_be_read_is_no_table(tmp_path: Path, content: bytes | None) -> None:
    """The library is asked instead."""
    path = tmp_path / "table.json"
    if content is not None:
        path.write_bytes(content)
    assert PriceTable(path).find("openai", "gpt-4o", 1.8e9) is None


@is_of_these_lists
def test_a_first_call_imports_no_price_library() -> None:
    """In a process of its own: the adapter's own book knows the price of its default model."""
    program = """
import sys
from genops_helicone_async import GenOpsHeliconeAsyncAdapter
adapter = GenOpsHeliconeAsyncAdapter("sk-helicone-x")
price = adapter._parts.shared.prices.resolve_now("openai", "gpt-4o-mini")
print(price.source, price.tiers[0][1].input, "genai_prices" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == f"{SHIPPED.source} 150000 False\n"
    assert price_table.TABLE.is_file()
