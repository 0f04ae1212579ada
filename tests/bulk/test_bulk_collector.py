"""The collector while a bulk job runs, and afterwards."""

import gc

import pytest

from genops_helicone_async.cli.collector import rare_collections


def fail_within() -> None:
    """Looks at the collector within, and fails."""
    with rare_collections():
        assert gc.get_threshold() == (10_000, 20, 20)
        assert gc.get_freeze_count() > 10_000
        raise OSError("the disk is full")


def test_the_collector_is_afterwards_as_it_was() -> None:
    """Within, it looks more seldom and leaves out what was loaded; then all is as before, whatever was raised."""
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with pytest.raises(OSError, match="the disk is full"):
        fail_within()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() <= frozen
