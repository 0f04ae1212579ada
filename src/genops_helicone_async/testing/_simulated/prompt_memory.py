"""The providers' prompt caches: a long prompt that begins like an earlier one is read from the cache."""

from hashlib import blake2b

from .answers import CACHEABLE_TOKENS
from .tokens import count_tokens, split_tokens

CACHE_STEP_TOKENS = 128


class PromptMemory:
    """Remembers the last prompt per provider, model and first 1,024 tokens."""

    __slots__ = ("_prompts",)

    def __init__(self) -> None:
        self._prompts: dict[tuple[str, str, bytes], str] = {}

    def cached_tokens(self, provider: str, model: str, prompt: str) -> int:
        """Tokens of this prompt that an earlier one began with, in steps of 128; remembers this prompt."""
        opening = "".join(split_tokens(prompt)[:CACHEABLE_TOKENS])
        key = (provider, model, blake2b(opening.encode("utf-8", "replace"), digest_size=16).digest())
        earlier = self._prompts.get(key)
        self._prompts[key] = prompt
        if earlier is None:
            return 0
        shared = count_tokens(_shared_opening(earlier, prompt))
        return shared // CACHE_STEP_TOKENS * CACHE_STEP_TOKENS

    def clear(self) -> None:
        """Forget every prompt."""
        self._prompts.clear()


def _shared_opening(first: str, second: str) -> str:
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return first[:place]
    return min(first, second, key=len)
