"""Metrics of one's own: what a definition must say, and which values a call may give."""

import math
import re
from typing import Any

import pytest

from genops_helicone_async import ConfigurationError
from genops_helicone_async._rules.custom_metrics import (
    DEFAULT_BOUNDS,
    MetricDefinition,
    definitions_of,
    refuse_another,
    refuse_values,
)

SCORE = {"name": "business_value_score", "type": "gauge", "description": "Business value score for AI responses"}


def test_the_guide_s_definition_is_one() -> None:
    """Name, type and description; no unit, no buckets."""
    assert definitions_of([SCORE]) == (
        MetricDefinition(name="business_value_score", kind="gauge", description=SCORE["description"]),
    )


def test_a_histogram_has_the_buckets_it_says_or_opentelemetry_s() -> None:
    """Numbers become floats."""
    with_buckets, without = definitions_of(
        [{"name": "a", "type": "histogram", "buckets": [1, 2.5]}, {"name": "b", "type": "histogram", "unit": "s"}]
    )
    assert (with_buckets.bounds, without.bounds, without.unit) == ((1.0, 2.5), DEFAULT_BOUNDS, "s")


@pytest.mark.parametrize(
    ("definitions", "told"),
    [
        (SCORE, "`definitions` must be a list of mappings, not dict"),
        ("score", "`definitions` must be a list of mappings, not str"),
        (["score"], "`definitions[0]` must be a mapping, not str"),
        ([SCORE, {"type": "gauge"}], "`definitions[1]` has the name None"),
        ([{"name": "Score", "type": "gauge"}], "`definitions[0]` has the name 'Score'"),
        ([{"name": "a b", "type": "gauge"}], "`definitions[0]` has the name 'a b'"),
        ([{"name": "genops_helicone_x", "type": "gauge"}], "names that begin like this are the library's own"),
        ([{"name": "a", "type": "summary"}], "the metric 'a' has the type 'summary': use one of gauge, counter"),
        ([{"name": "a"}], "the metric 'a' has the type None"),
        ([{"name": "a", "type": ["gauge"]}], "the metric 'a' has the type ['gauge']"),
        ([{"name": "a", "type": "gauge", "labels": []}], "the metric 'a' has the key 'labels'"),
        ([{"name": "a", "type": "gauge", "description": 3}], "the metric 'a' has the description 3"),
        ([{"name": "a", "type": "gauge", "unit": "x" * 64}], "the metric 'a' has the unit"),
        ([{"name": "a", "type": "gauge", "buckets": [1]}], "the metric 'a' has `buckets`, which only a histogram has"),
        ([{"name": "a", "type": "histogram", "buckets": [2, 1]}], "the metric 'a' has the buckets [2, 1]"),
        ([{"name": "a", "type": "histogram", "buckets": [1, 1]}], "give finite numbers in rising order"),
        ([{"name": "a", "type": "histogram", "buckets": [math.nan]}], "give finite numbers in rising order"),
        ([{"name": "a", "type": "histogram", "buckets": []}], "give finite numbers in rising order"),
        ([{"name": "a", "type": "histogram", "buckets": [True]}], "give finite numbers in rising order"),
        ([{"name": "a.b", "type": "gauge"}, {"name": "a_b", "type": "gauge"}], "two metrics named 'a_b'"),
    ],
)
def test_a_wrong_definition_is_named(definitions: Any, told: str) -> None:
    """The error says which one, and what is wrong with it."""
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        definitions_of(definitions)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"scores": 1.0}, "`custom_metrics` names 'scores', which no one has registered: did you mean 'score'?"),
        ({"other": 1.0}, "`custom_metrics` names 'other', which no one has registered: call `register_custom_metrics`"),
        ({"score": math.inf}, "`custom_metrics['score']` is inf: it must be a finite number"),
        ({"score": 1.0, "done": -1}, "`custom_metrics['done']` is -1: a counter takes 0 or more"),
        ({"size": -0.5}, "`custom_metrics['size']` is -0.5: a histogram takes 0 or more"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, float], told: str) -> None:
    """An unregistered name and a value that the kind does not take."""
    known = {
        name: MetricDefinition(name=name, kind=kind)
        for name, kind in (("score", "gauge"), ("done", "counter"), ("size", "histogram"))
    }
    refuse_values({"score": -1.5, "done": 0, "size": 2}, known)
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        refuse_values(values, known)


def test_another_metric_of_the_same_name_is_refused() -> None:
    """The same again is no other; one that differs in anything is."""
    known = MetricDefinition(name="a", kind="gauge", description="x")
    refuse_another(known, None)
    refuse_another(MetricDefinition(name="a", kind="gauge", description="x"), known)
    with pytest.raises(ConfigurationError, match="the metric 'a' is there already and differs: gauge 'a', 'x'"):
        refuse_another(MetricDefinition(name="a", kind="counter", description="x"), known)
