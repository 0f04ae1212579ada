"""The sandbox's own token rule: deterministic, reversible, the same for every provider and model.

One token is a run of up to five ASCII characters with the white space before it, or one character beyond
ASCII; white space at the very end counts as one more. `"".join(split_tokens(text)) == text` always holds, so
that a reply can be cut after exactly `max_tokens` tokens. It is no model's tokenizer: only `usage` is truth.
"""

import re

TOKENS_PER_MESSAGE = 3
TOKENS_PER_IMAGE = 85

_TOKEN = re.compile(r"\s*(?:[!-~]{1,5}|[^\s!-~])|\s+\Z")


def split_tokens(text: str) -> list[str]:
    """The text in pieces of one token each."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """How many tokens the text has."""
    return len(_TOKEN.findall(text))
