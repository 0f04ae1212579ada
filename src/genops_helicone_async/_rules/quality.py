"""How good models are said to be: a dated snapshot of one public leaderboard, for `quality_optimized`.

Source: the text leaderboard of Arena (arena.ai/leaderboard/text, formerly LMArena and LMSYS Chatbot Arena), overall
category, as published on 2026-08-01. Its score is a Bradley-Terry rating from people's votes between two anonymous
answers; 95 % confidence is ± 3 to ± 10 points there, so small differences mean nothing, and 70 points mean that the
better one is preferred in about 60 % of comparisons (1 / (1 + 10^(-70/400))).

It is a snapshot and goes out of date; what people prefer in a chat need not be what a task needs. Whoever knows
better passes own scores, which come first. Models that the snapshot lacks have no score; none is guessed from a
relative's. Where it lists a model at several efforts, the entry is the plain one if there is one, else the one it
lists (GPT-5, 5.6 and the GPT minis at high effort, Claude Opus 5 and Sonnet 5 at high, Gemini 3.5 Flash at medium).
A name without a version is the version it stood for on that day, as far as its maker said so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from .model_names import spellings

SNAPSHOT: Final = "Arena text, 2026-08-01"
SOURCE: Final = "https://arena.ai/leaderboard/text"

SCORES: Final[dict[str, int]] = {
    # Anthropic
    "claude-fable-5": 1509, "claude-opus-5": 1492, "claude-opus-4-8": 1475, "claude-opus-4-7": 1492,
    "claude-opus-4-6": 1497, "claude-opus-4-5": 1469, "claude-opus-4-1": 1447, "claude-opus-4": 1413,
    "claude-sonnet-5": 1462, "claude-sonnet-4-6": 1472, "claude-sonnet-4-5": 1455, "claude-sonnet-4": 1389,
    "claude-haiku-4-5": 1412, "claude-3-7-sonnet": 1372, "claude-3-5-sonnet": 1373,
    "claude-3-5-sonnet-20240620": 1343, "claude-3-5-haiku": 1324, "claude-3-opus": 1322, "claude-3-sonnet": 1281,
    "claude-3-haiku": 1261,
    # OpenAI
    "gpt-5.6-sol": 1483, "gpt-5.6-terra": 1468, "gpt-5.6-luna": 1450, "gpt-5.5": 1476, "gpt-5.5-instant": 1473,
    "gpt-5.4": 1465, "gpt-5.4-mini": 1449, "gpt-5.4-nano": 1402, "gpt-5.3-chat": 1449, "gpt-5.2": 1435,
    "gpt-5.2-chat": 1476, "gpt-5.1": 1439, "gpt-5": 1434, "gpt-5-chat": 1427, "gpt-5-mini": 1390, "gpt-5-nano": 1337,
    "gpt-4.5-preview": 1445, "chatgpt-4o-latest": 1443, "gpt-4.1": 1414, "gpt-4.1-mini": 1383, "gpt-4.1-nano": 1322,
    "gpt-4o": 1335, "gpt-4o-2024-05-13": 1346, "gpt-4o-mini": 1318, "gpt-4-turbo": 1324, "gpt-4-0125-preview": 1313,
    "gpt-4-1106-preview": 1312, "gpt-4": 1275, "gpt-4-0314": 1287, "gpt-3.5-turbo": 1225, "gpt-3.5-turbo-1106": 1203,
    "o4-mini": 1390, "o3": 1431, "o3-mini": 1348, "o1": 1402, "o1-preview": 1389, "o1-mini": 1337,
    "gpt-oss-120b": 1352, "gpt-oss-20b": 1317,
    # Google
    "gemini-3.6-flash": 1483, "gemini-3.5-flash": 1474, "gemini-3.5-flash-lite": 1457, "gemini-3.1-pro": 1485,
    "gemini-3.1-flash-lite": 1432, "gemini-3-pro": 1486, "gemini-3-flash": 1473, "gemini-2.5-pro": 1446,
    "gemini-2.5-flash": 1410, "gemini-2.5-flash-lite": 1374, "gemini-2.0-flash": 1360, "gemini-2.0-flash-lite": 1354,
    "gemini-1.5-pro": 1351, "gemini-1.5-flash": 1309, "gemini-1.5-flash-8b": 1259, "gemma-4-31b": 1451,
    "gemma-4-26b-a4b": 1438, "gemma-3-27b": 1366, "gemma-3-12b": 1342, "gemma-3-4b": 1303, "gemma-2-27b": 1289,
    "gemma-2-9b": 1267,
    # xAI
    "grok-4.5": 1469, "grok-4.3": 1442, "grok-4.1": 1459, "grok-4-1-fast-reasoning": 1431, "grok-4": 1409,
    "grok-4-fast-reasoning": 1404, "grok-3": 1411, "grok-3-mini": 1357, "grok-2": 1336,
    # DeepSeek; `deepseek-chat` and `deepseek-reasoner` move with the releases and are taken for V3.2
    "deepseek-v4-pro": 1458, "deepseek-v4-flash": 1436, "deepseek-v3.2": 1425, "deepseek-v3.1": 1417,
    "deepseek-v3.1-terminus": 1415, "deepseek-v3-0324": 1396, "deepseek-v3": 1359, "deepseek-r1-0528": 1422,
    "deepseek-r1": 1398, "deepseek-chat": 1425, "deepseek-reasoner": 1423,
    # Meta
    "muse-spark-1.1": 1490, "muse-spark": 1488, "llama-4-maverick": 1327, "llama-4-scout": 1323,
    "llama-3.3-70b": 1318, "llama-3.2-3b": 1166, "llama-3.2-1b": 1111, "llama-3.1-405b": 1335, "llama-3.1-70b": 1293,
    "llama-3.1-8b": 1211, "llama-3-70b": 1276, "llama-3-8b": 1223, "llama-2-70b": 1170,
    # Mistral
    "mistral-medium": 1427, "mistral-medium-3.5": 1427, "mistral-medium-2508": 1409, "mistral-medium-2505": 1387,
    "mistral-large": 1415, "mistral-large-3": 1415, "mistral-large-2411": 1305, "mistral-large-2407": 1314,
    "mistral-large-2402": 1242, "mistral-small": 1357, "mistral-small-2506": 1357, "mistral-small-2503": 1303,
    "mistral-small-2501": 1274, "magistral-medium": 1304, "ministral-8b": 1237, "mixtral-8x22b": 1229,
    "mixtral-8x7b": 1197, "mistral-7b": 1149,
    # Alibaba
    "qwen3.7-plus": 1459, "qwen3.6-plus": 1444, "qwen3.5-397b-a17b": 1442, "qwen3.5-122b-a10b": 1417,
    "qwen3-max": 1424, "qwen3-235b-a22b-instruct-2507": 1423, "qwen3-235b-a22b": 1375, "qwen3-next-80b-a3b": 1401,
    "qwen3-coder-480b-a35b": 1388, "qwen3-32b": 1347, "qwen3-30b-a3b": 1327, "qwq-32b": 1336, "qwen2.5-max": 1374,
    "qwen2.5-72b": 1303,
    # Moonshot, Z.ai, MiniMax
    "kimi-k2.6": 1461, "kimi-k2.5": 1450, "kimi-k2-thinking": 1430, "kimi-k2-0905": 1418, "kimi-k2": 1418,
    "glm-5.2": 1469, "glm-5.1": 1469, "glm-5": 1457, "glm-4.7": 1442, "glm-4.6": 1425, "glm-4.5": 1411,
    "glm-4.5-air": 1373, "minimax-m3": 1445, "minimax-m2.7": 1417, "minimax-m2.5": 1390,
    # Cohere, Amazon, Microsoft
    "command-a": 1354, "command-r-plus": 1276, "command-r": 1250, "nova-2-lite": 1337, "nova-pro": 1290,
    "nova-lite": 1260, "nova-micro": 1241, "phi-4": 1256,
}  # fmt: skip
"""Model, as its maker spells it without a release date → score."""

_BEDROCK = re.compile(r"(?:[a-z]{2,6}\.)?(?:anthropic|amazon|cohere|deepseek|meta|mistral|openai|qwen)\.(.+)")
_VERSION = re.compile(r"(?:@.*|:.*|-v\d+(?::\d+)?)$")
_RELEASE = re.compile(r"-(?:20\d\d-?\d\d-?\d\d|\d{4}|\d\d-(?:20)?\d\d|\d{3}|latest|preview|exp|beta)$")
_OPEN = re.compile(r"(?:meta-)?(?:llama|mixtral|mistral|ministral|qwen|gemma|kimi|deepseek|glm|gpt-oss|minimax)")
_SERVED = re.compile(
    r"-(?:instruct|it|chat|turbo|versatile|instant|lite|fp8|bf16|maas|tput|free|8192|32768|128e|16e|17b|\d+k|v0\.\d"
    r"|instruct-v\d)$"
)
_LLAMA = re.compile(r"(?:meta-)?llama-?v?(\d)(?:[.p-](\d))?-(\d+b|maverick|scout)")


def quality_of(provider: str, model: str, overrides: Mapping[str, float] | None = None) -> float | None:
    """A model's score, higher is better; None where neither the overrides nor the snapshot have it.

    `overrides` has own scores by `provider/model` or by model, on any scale that fits the others in use.
    """
    if overrides:
        for name in (f"{provider}/{model}", model):
            if name in overrides:
                return float(overrides[name])
    score = _snapshot(provider, model)
    return None if score is None else float(score)


@lru_cache(maxsize=4096)
def _snapshot(provider: str, model: str) -> int | None:
    for spelling in spellings(provider, model):
        for name in _names(spelling.lower()):
            if name in SCORES:
                return SCORES[name]
    return None


def _names(name: str) -> Iterator[str]:
    """The name, and what it is without its wrapping: cloud prefixes, versions, release dates, how it is served."""
    yield name
    if match := _BEDROCK.fullmatch(name):
        name = match[1]
        yield name
    bare = _VERSION.sub("", name)
    if bare != name:
        yield bare
    if match := _LLAMA.match(bare):
        version = f"{match[1]}.{match[2]}" if match[2] else match[1]
        bare = f"llama-{version}-{match[3]}{bare[match.end() :]}"
        yield bare
    pattern = _SERVED if _OPEN.match(bare) else _RELEASE
    for _ in range(6):
        shorter = pattern.sub("", bare)
        if shorter == bare and pattern is _SERVED:
            shorter = _RELEASE.sub("", bare)
        if shorter == bare:
            return
        bare = shorter
        yield bare


__all__ = ["SCORES", "SNAPSHOT", "SOURCE", "quality_of"]
