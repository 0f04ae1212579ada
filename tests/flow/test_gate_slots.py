"""A slot that a gate has waited for and cannot use any more."""

import asyncio

from gate_parts import Rig, turn
from virtual_time import in_virtual_time


@in_virtual_time
async def test_who_gets_a_slot_and_may_not_go_any_more_hands_it_on() -> None:
    """A provider that asks for a pause while its first call waits for a slot does not keep the slot for the pause."""
    rig = Rig(slots=1)
    other = rig.limits.gate("groq")
    await other.enter("model", 0.0, priority=0, tenant=None, deadline=rig.loop.time() + 60)
    waiting = rig.start(1, "paused")
    await turn()
    rig.gate.refused("model", rig.loop.time(), 30.0)
    other.leave("model", 0.0, 0.0)
    await turn()
    assert rig.slots.statistics().taken == 0
    await asyncio.wait_for(other.enter("model", 0.0, priority=0, tenant=None, deadline=rig.loop.time() + 60), 1)
    other.leave("model", 0.0, 0.0)
    await asyncio.gather(*waiting)
    assert rig.went == [("paused0", 30.0)]
    rig.assert_empty()
