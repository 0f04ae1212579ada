"""Counting tokens with `toktok` where it is installed, and by characters where it is not."""

import pytest

from genops_helicone_async._edges.token_counter import TokenCounter, counter, encoding_of


def test_without_toktok_the_characters_are_counted() -> None:
    """Scaled for the model and rounded up."""
    count = TokenCounter(is_exact=False)
    assert [count(model, "x" * 380) for model in ("gpt-4o", "claude-haiku-4-5", "gemini-2.5-flash")] == [100, 115, 111]
    assert repr(count) == "TokenCounter(by characters)"


@pytest.mark.parametrize(
    "text,cl100k,o200k",
    [("antidisestablishmentarianism", 6, 6), ("2 + 2 = 4", 7, 7), ("お誕生日おめでとう", 9, 8), ("", 0, 0)],
)
def test_with_toktok_the_count_is_exact(text: str, cl100k: int, o200k: int) -> None:
    """The counts OpenAI's cookbook gives for its encodings ("How to count tokens with tiktoken")."""
    pytest.importorskip("toktok", reason="needs toktok-rs: install the extra `tokens`")
    count = counter()
    assert (count("gpt-4", text), count("gpt-4o", text)) == (cl100k, o200k)


def test_text_that_is_not_valid_unicode_is_counted() -> None:
    """An unpaired surrogate counts as the mark that replaces it."""
    pytest.importorskip("toktok", reason="needs toktok-rs: install the extra `tokens`")
    count = counter()
    assert repr(count) == "TokenCounter(toktok)"
    assert count("gpt-4o", "a\ud800b") == count("gpt-4o", "a?b")


def test_an_exact_count_is_scaled_for_other_families() -> None:
    """Six tokens of OpenAI's are seven of an older Claude's and nine of a newer one's."""
    pytest.importorskip("toktok", reason="needs toktok-rs: install the extra `tokens`")
    count = counter()
    assert [count(model, "antidisestablishmentarianism") for model in ("claude-3-haiku", "claude-fable-5")] == [7, 9]


@pytest.mark.parametrize(
    "model,expected",
    [
        ("gpt-4", "cl100k_base"),
        ("openai/gpt-3.5-turbo", "cl100k_base"),
        ("text-embedding-3-small", "cl100k_base"),
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-4.1", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("claude-haiku-4-5", "o200k_base"),
    ],
)
def test_old_models_have_the_old_encoding(model: str, expected: str) -> None:
    """cl100k for GPT-3.5, GPT-4 and embeddings, o200k for all else."""
    assert encoding_of(model) == expected
