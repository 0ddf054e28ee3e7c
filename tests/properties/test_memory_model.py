"""Random operations on the tables of memory, against a model that holds the bytes themselves."""

from collections import Counter

import pytest

from sharesim.machine import tables as t
from sharesim.spec.paging import Shadow
from sharesim.spec.scenario import Paravirtual
from tests.properties.memory_model import Cooperating, Transparent, Walk

WALKS, STEPS = 40, 200


class Verify(Transparent):
    """Bytes are compared; the last sharer takes its frame over."""


class Copy(Transparent):
    """Bytes are compared; the last sharer copies, as KSM does."""

    last_sharer = "copy"


class Trust(Transparent):
    """Digests of one bit are trusted: every second pair of contents collides."""

    verify = False
    bits = 1


class ShadowPool(Transparent):
    """Shadow tables from a pool that is always too small."""

    paging = Shadow()
    pool = 2


class ShadowTrust(Trust):
    """Shadow tables without an rmap; digests are trusted."""

    paging = Shadow(rmap="none")
    last_sharer = "copy"


class Upcall(Cooperating):
    """Guests break their shares themselves."""


class BrokenByHypervisor(Cooperating):
    """The hypervisor breaks shares, and free pages go to the balloon."""

    options = Paravirtual(cow="hypervisor", ring=5, expiry=9_000, free_pages="balloon")
    last_sharer = "copy"


class CooperatingTrust(Cooperating):
    """Digests of one bit are trusted by a hypervisor whose guests cooperate."""

    verify = False
    bits = 1


ALWAYS = (
    t.T_MERGES, t.T_ZERO_MERGES, t.T_MERGE_ABORTED, t.T_COW_BREAKS, t.T_ZERO_BREAKS, t.T_UNPROTECTS,
    t.T_POPULATES, t.T_INELIGIBLE, t.T_BALLOON_POPPED,
)  # fmt: skip
OFFERS = (t.T_OFFERS_REFUSED, t.T_OFFERS_EXPIRED, t.T_OFFERS_DROPPED, t.T_NOCOPY)
MODELS: dict[type[Walk], tuple[int, ...]] = {
    Verify: (t.T_REUSES, t.T_SPLITS, t.T_REFILLS),
    Copy: (t.T_REFILLS,),
    Trust: (t.T_WRONG_MERGES,),
    ShadowPool: (t.T_HIDDEN_FAULTS, t.T_SHADOW_EVICTIONS, t.T_REFILLS),
    ShadowTrust: (t.T_HIDDEN_FAULTS, t.T_REFILLS, t.T_WRONG_MERGES),
    Upcall: (*OFFERS, t.T_REUSES, t.T_UPCALLS),
    BrokenByHypervisor: (*OFFERS, t.T_REFILLS),
    CooperatingTrust: (*OFFERS, t.T_UPCALLS, t.T_WRONG_MERGES),
}
"""Each model, and running totals of what it must have come across, beside ALWAYS."""


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_the_tables_are_what_the_model_says(model: type[Walk]) -> None:
    seen = Counter[int]()
    for seed in range(WALKS):
        walk = model(seed)
        try:
            walk.go(STEPS)
        except AssertionError as error:
            done = "\n".join(walk.trace)
            raise AssertionError(f"seed {seed}, {len(walk.trace)} steps:\n{done}") from error
        seen.update({at: walk.bench.total(at) for at in (*ALWAYS, *MODELS[model])})
    assert min(seen.values()) >= 5, seen
