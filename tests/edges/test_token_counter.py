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


class Counting:
    """In place of `toktok.batch_count` and `truncate`: a token a character, and a list of what was counted."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, str]] = []

    def __call__(self, texts: list[str], encoding: str, threads: int) -> list[int]:
        self.counted += [(text, encoding) for text in texts]
        return [len(text) for text in texts]

    def truncate(self, text: str, max_tokens: int, encoding: str) -> tuple[str, int]:
        assert max_tokens > len(text)
        self.counted.append((text, encoding))
        return text, len(text)


@pytest.fixture
def counting() -> Counting:
    """What is asked of toktok."""
    return Counting()


@pytest.fixture
def count(counting: Counting) -> TokenCounter:
    """A counter that asks it."""
    made = TokenCounter(is_exact=True)
    made._batch_count = counting
    made._truncate = counting.truncate
    return made


def test_a_text_is_counted_once_for_all_candidates(counting: Counting, count: TokenCounter) -> None:
    """Several models of one encoding cost one count, each scaled for itself; another encoding is another count."""
    models = ("gpt-4o-mini", "claude-3-haiku", "llama-3.1-8b-instant", "gpt-4")
    assert [count(model, "x" * 100) for model in models] == [count(model, "x" * 100) for model in models]
    assert counting.counted == [("x" * 100, "o200k_base"), ("x" * 100, "cl100k_base")]


def test_what_is_remembered_is_bounded(counting: Counting, count: TokenCounter) -> None:
    """Of many texts the older ones are forgotten, a text beyond all room is not kept; counts stay true."""
    for number in range(5_000):
        assert count("gpt-4o", f"{number:06}") == 6
        assert sum(map(len, count._remembered.values())) < 1_000
    assert count("gpt-4o", "004999") == 6
    assert len(counting.counted) == 5_000
    assert [count("gpt-4o", "y" * 2_000_000) for _ in range(2)] == [2_000_000] * 2
    assert len(counting.counted) == 5_002
    assert not any(count._remembered.values())


@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
def test_one_text_counts_as_in_a_batch(encoding: str) -> None:
    """The quick count of one text is that of a batch: special tokens as text, accents, emoji, white space, length."""
    toktok = pytest.importorskip("toktok")
    model = {"o200k_base": "gpt-4o", "cl100k_base": "gpt-4"}[encoding]
    texts = [
        "",
        " " * 500,
        "a<|endoftext|>b<|im_start|>",
        "e\u0301é 漢字かな",
        "👩‍👩‍👧‍👦\n\t" * 30,
        "lone \ud800",
        "word " * 3_999,
        "word " * 5_000,
    ]
    sound = [text.encode("utf-8", "replace").decode() for text in texts]
    count = TokenCounter(is_exact=True)
    assert [count(model, text) for text in texts] == toktok.batch_count(sound, encoding, 1)


@pytest.mark.parametrize("is_exact", [True, False])
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4", "claude-3-haiku", "claude-fable-5", "llama-3.1-8b-instant"])
def test_several_texts_are_counted_as_one_by_one(model: str, is_exact: bool) -> None:
    """Each is scaled and rounded for itself, whether it has been counted before or not."""
    if is_exact:
        pytest.importorskip("toktok", reason="needs toktok-rs: install the extra `tokens`")
    texts = ["one two three", "", "e\u0301é 漢字", "one two three", "lone \ud800", "word " * 5_000]
    one_by_one, together = TokenCounter(is_exact=is_exact), TokenCounter(is_exact=is_exact)
    expected = [one_by_one(model, text) for text in texts]
    assert together.each(model, texts) == expected
    assert together.each(model, texts) == [together(model, text) for text in texts] == expected


def test_the_models_that_are_known_are_bounded() -> None:
    """Names come from callers: beyond a thousand all are looked up anew, and counts stay true."""
    count = TokenCounter(is_exact=False)
    for number in range(3_000):
        assert count(f"gpt-{number}", "x" * 38) == 10
        assert len(count._scales) <= 1_024
