"""A write at each step of the sharing that guests take part in, by the same guest or another.

Guests have a second vCPU here, which writes while the first one drives. Its script is that of the
first one too, whose write comes when the driver is done. The page is number 7, so that page a.7
cannot be taken for a vCPU.
"""

from typing import Any

from sharesim.spec.scenario import VM, Scenario
from sharesim.spec.workloads import Workload
from tests.golden.case import busy, common, golden, own, script, vm, write
from tests.golden.cases_paravirtual import together


def two_vcpus(name: str, workload: Workload) -> VM:
    """A guest of two vCPUs with one page, its eighth."""
    return vm(name, own(7, populated=False), common("kernel"), vcpus=2, workload=workload)


def raced(*vms: VM, us: int = 300, **more: Any) -> Scenario:
    """One pass over the one page of each of two guests."""
    return together(*vms, us=us, scanned=2, **more)


# The page that joins is written by its own guest


@golden()
def write_between_consent_and_share() -> Scenario:
    """A write after the consent makes the page writable again: there is nothing to share.

    37   offers; 37 to 85 both consent
    60   vCPU b.1 writes b.7: trap 8 + 12, entries 2 x (1 + 3) = 28; at 88 the write
    85   a.0 becomes the frame to join, 20. b: hypercall 12: b.7 is not protected, so it is given
         up. There is nothing to rewrite
    97   vCPU b.0 makes its own write
    """
    return raced(vm("a", common("kernel")), two_vcpus("b", script(60, write(7))))


@golden()
def write_between_share_and_rewrite() -> Scenario:
    """A write to a page that has just joined breaks the share; its entries are not rewritten.

    37   offers; at 85 b.7 joins the frame of a.0: 20
    90   vCPU b.1 writes b.7: 103; at 193 the write
    105  there is nothing to rewrite; the frame that b.7 had is free. vCPU b.0 writes
    """
    return raced(vm("a", common("kernel")), two_vcpus("b", script(90, write(7))))


@golden()
def write_during_the_rewrite() -> Scenario:
    """A write while the entries are being rewritten breaks the share.

    37   offers; at 85 b.7 joins the frame of a.0; at 105 its entries are rewritten: 18
    110  vCPU b.1 writes b.7: 103; at 213 the write
    123  the frame that b.7 had is free; vCPU b.0 writes, to the new one
    """
    return raced(vm("a", common("kernel")), two_vcpus("b", script(110, write(7))))


# The partner is written by another guest; b is busy, and takes the event at 80


@golden()
def partner_written_before_it_is_shared() -> Scenario:
    """Both guests give up: the one whose page was written, and the other that looks at it later.

    37   offers; a consents until 85
    60   vCPU a.1 writes a.7: 28; at 88 the write
    80   b consents: 48
    85   a: 12, a.7 is not protected; at 97 its vCPU a.0 makes its own write
    128  b: 12 + compare 6: a.7 differs; at 146 the entries of b.0 are made writable again, 18
    164  b reads b.0
    """
    return raced(two_vcpus("a", script(60, write(7))), vm("b", common("kernel"), workload=busy(80)))


@golden()
def partner_written_after_it_is_shared() -> Scenario:
    """The page to be joined is written before the other comes: it is alone and taken over.

    37   offers; a consents, and at 85 a.7 becomes the frame to join: 20
    90   vCPU a.1 writes a.7: 28; at 118 the write. At 105 vCPU a.0 has written already
    80   b consents: 48; at 128 share: 12 + 6, a.7 differs; at 146 rewrite 18; at 164 b reads b.0
    """
    return raced(two_vcpus("a", script(90, write(7))), vm("b", common("kernel"), workload=busy(80)))


@golden()
def partner_rewritten_with_what_was_there() -> Scenario:
    """A write that changes nothing takes the partner out all the same: b.0 is the first, then.

    37   offers; a consents, and at 85 a.7 becomes the frame to join: 20
    90   vCPU a.1 writes to a.7 what is there: 28; at 118 the write. At 105 vCPU a.0 does so
    80   b consents: 48; at 128 share: 12 + 8: equal, but a.7 is no longer shared: b.0 becomes the
         frame to join, with nothing to rewrite. At 148 b reads b.0. Nothing is saved yet
    """
    return raced(
        two_vcpus("a", script(90, write(7, "same"))),
        vm("b", common("kernel"), workload=busy(80)),
        us=200,
    )


@golden()
def partner_written_while_the_page_joins() -> Scenario:
    """A write to the frame's first page makes it a copy; the page that joins has the frame.

    37   offers; a is done at 105; b consents from 80 to 128
    128  b.0 joins the frame of a.7: 20
    130  both vCPUs of a write a.7. vCPU a.1 comes first: 103; at 233 the write. For vCPU a.0
         the page is its guest's own already: it writes at 130
    148  b rewrites two entries, 18; at 166 the frame of b.0 is free, and b reads the one it joined
    """
    return raced(
        two_vcpus("a", script(130, write(7))), vm("b", common("kernel"), workload=busy(80))
    )
