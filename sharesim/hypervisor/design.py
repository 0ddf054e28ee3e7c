"""What the sharing design and the policy's digest make of the cost row."""

from collections.abc import Mapping

import numpy as np

from sharesim.content.digests import seed_of
from sharesim.spec.scenario import Sharing

Table = Mapping[str, int]


def set_digest(row: np.ndarray, primitives: Table, *, digest: str, bits: int, verify: bool) -> None:
    """Fill in what depends on the policy: the digest and how equality is decided."""
    costs = row[0]
    costs["digest_cold"] = primitives[f"digest_{digest}_cold"]
    costs["digest_hot"] = primitives[f"digest_{digest}_hot"]
    costs["digest_seed"] = np.uint64(seed_of(digest)).astype(np.int64)
    costs["digest_bits"] = bits
    costs["verify"] = int(verify)


def set_design(row: np.ndarray, primitives: Table, sharing: Sharing) -> None:
    """Fill in what depends on the sharing design and its options."""
    costs = row[0]
    costs["last_sharer_copy"] = int((sharing.last_sharer or sharing.policy.last_sharer) == "copy")
    costs["split_blocks"] = int(sharing.split_blocks)
    if sharing.design != "paravirtual":
        return
    guests = sharing.paravirtual
    costs["paravirtual"] = 1
    costs["upcall"] = int(guests.cow == "upcall")
    costs["ring"], costs["expiry"] = guests.ring, guests.expiry
    costs["balloon_free"] = int(guests.free_pages == "balloon")
    if guests.cow == "hypervisor":
        costs["write_fault"] = primitives["hypercall"]  # one transition: it is not handed on
