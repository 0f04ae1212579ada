"""Own quality scores: they come before the built-in table, for every call from then on."""

import pytest

from genops_helicone_async import ConfigurationError, GenOpsHeliconeAsyncAdapter
from genops_helicone_async.testing import SandboxGateway

pytestmark = pytest.mark.anyio

BOTH = {"providers": ["openai", "groq"], "routing_strategy": "quality_optimized"}


async def test_own_scores_come_first() -> None:
    """A model put above all others is asked first; taking the scores back restores the table's order."""
    async with (
        SandboxGateway(latency_scale=0) as gateway,
        GenOpsHeliconeAsyncAdapter(gateway.api_key, gateway_url=gateway.url) as adapter,
    ):
        by_table = await adapter.chat_async("Hello", **BOTH)
        other = "groq" if by_table.provider == "openai" else "openai"
        model = by_table.routing.candidates[1].model
        adapter.set_quality_scores({f"{other}/{model}": 9000})
        by_score = await adapter.chat_async("Hello", **BOTH)
        assert (by_score.provider, by_score.routing.reason) == (other, "quality 9000")
        adapter.set_quality_scores({})
        assert (await adapter.chat_async("Hello", **BOTH)).provider == by_table.provider


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ({"gpt-4o": float("nan")}, r"`scores\['gpt-4o'\]` is nan: give a finite number"),
        ({"gpt-4o": "best"}, r"`scores\['gpt-4o'\]` is 'best': give a finite number"),
        ({"": 1.0}, "`scores` has the key ''"),
    ],
)
def test_bad_scores_are_refused_and_change_nothing(scores: dict[str, float], told: str) -> None:
    """The message names the entry; the scores from before stay."""
    adapter = GenOpsHeliconeAsyncAdapter("sk-helicone-aaaaaaa-bbbbbbb-ccccccc-ddddddd")
    adapter.set_quality_scores({"gpt-4o": 1.0})
    with pytest.raises(ConfigurationError, match=told):
        adapter.set_quality_scores(scores)
    with pytest.raises(TypeError, match="must map models to numbers"):
        adapter.set_quality_scores([("gpt-4o", 1.0)])  # type: ignore[arg-type]
    assert adapter._parts.shared.routing.qualities == {"gpt-4o": 1.0}
