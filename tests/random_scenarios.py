"""Small scenarios drawn at random: every option of a scenario turns up in some of them."""

from random import Random
from typing import Any

from sharesim.guest.layout import lay_out
from sharesim.spec.images import Segment, Segments
from sharesim.spec.paging import Direct, Native, Nested, PagingSpec, Shadow
from sharesim.spec.policies import Cbps, Oracle, PolicySpec
from sharesim.spec.scenario import (
    VM,
    Balloon,
    Costs,
    Host,
    Paravirtual,
    Scanner,
    Scenario,
    Sharing,
)
from sharesim.spec.workloads import (
    CpuBound,
    FileReader,
    HotSet,
    Idle,
    PageTableActivity,
    PageTableHeavy,
    Phases,
    RandomAccess,
    Sequential,
    Workload,
    ZipfAccess,
)

MS = 1_000_000


PAIRS = (("nested", "transparent"), ("shadow", "transparent"), ("direct", "paravirtual"))
"""Paging modes and the sharing designs that work with them."""


def random_scenario(
    seed: int, *, sharing: bool | None = None, pair: tuple[str, str] | None = None
) -> Scenario:
    """A scenario of a few ms and at most a few hundred pages, with all invariants checked.

    ``pair``: one of PAIRS; by default any.
    """
    random = Random(seed)
    duration = random.randint(4, 16) * MS
    cpus = random.randint(1, 3)
    vms: list[VM] = []
    tight = random.random() < 0.25
    for number in range(random.randint(1, 4)):
        vms.append(_vm(random, number, duration, cpus, vms, may_wait=not tight))
    shares = random.random() < 0.85 if sharing is None else sharing
    mode, design = pair or random.choice(PAIRS)
    paging = _paging(random, mode if shares or pair else random.choice(["native", mode]))
    held = sum(
        frames for vm in vms for frames in paging.held_pages(vm.memory or 0, vm.vcpus).values()
    )
    need = sum(vm.memory or 0 for vm in vms)
    least = sum(int(lay_out(vm, "4 KiB").populated.sum()) for vm in vms if not vm.clone_of) + 4
    memory = max(least, need * 3 // 4) if tight else random.choice([None, need + 64])
    host = Host(
        memory=memory and memory + held,
        cpus=cpus,
        overcommit=tight,
        time_slice=random.choice([200_000, 1 * MS, 4 * MS]),
        wakeup_granularity=random.choice([0, 50_000, 1 * MS]),
        backing=random.choice(["4 KiB", "4 KiB", "2 MiB"]) if paging.blocks else "4 KiB",
        reserve=random.choice([0, 0, 3]) if memory and not tight else 0,
        costs=Costs(override=random.choice([{}, {}, {"vcpu_switch": 0}, {"scan_skip": 0}])),
    )
    return Scenario(
        title=f"random {seed}",
        duration=duration,
        warmup=random.choice([0, duration // 4]),
        seed=seed,
        mode=random.choice(["decoupled", "decoupled", "exact"]),
        sync_quantum=random.choice([None, None, 1_000, 7_000]) if need > 100 else None,
        sample_every=random.choice([None, duration // 7]),
        host=host,
        vms=tuple(vms),
        paging=paging,
        sharing=_sharing(random, cpus, design) if shares else None,
        check=True,
        events=True,
    )


def _paging(random: Random, mode: str) -> PagingSpec:
    if mode == "shadow":
        return Shadow(
            pool=random.choice([None, 1, 3]),
            rmap=random.choice(["entries", "none"]),
            scale=random.choice([0.25, 1.0]),
        )
    if mode == "direct":
        return Direct(batch=random.choice([1, 3, 2048]))
    return Native() if mode == "native" else Nested()


def _sharing(random: Random, cpus: int, design: str) -> Sharing:
    return Sharing(
        design=design,
        policy=_policy(random),
        scanner=Scanner(
            placement=random.choice(["thread", "softirq", "domain"]),
            weight=random.choice([64, 1024, 4096]),
            affinity=_affinity(random, cpus),
            start=random.choice([0, 0, 1_234_567]),
        ),
        last_sharer=random.choice(["copy", "reuse"]),
        split_blocks=random.random() < 0.7,
        paravirtual=Paravirtual(
            cow=random.choice(["upcall", "hypervisor"]),
            ring=random.choice([1, 4, 256]),
            expiry=random.choice([5_000, 100_000, 1_000 * MS]),
            free_pages=random.choice(["share", "share", "balloon"]),
        ),
    )


def _policy(random: Random) -> PolicySpec:
    pace: dict[str, Any] = {
        "scan_rate": random.choice([5_000.0, 40_000.0, 500_000.0]),
        "wake_period": random.choice([400_000, 1 * MS, 3 * MS]),
    }
    if random.random() < 0.1:
        return Oracle(**pace)
    return Cbps(
        **pace,
        verify=random.random() < 0.7,
        digest_bits=random.choice([None, None, 4, 12]),
        order=random.choice(["linear", "random"]),
        passes=random.choice([1, 1, 2, 5]),
        table_entries=random.choice([None, None, 11]),
        stable=random.random() < 0.3,
        zero_pages=random.random() < 0.7,
    )


def _affinity(random: Random, cpus: int) -> tuple[int, ...] | None:
    if random.random() < 0.7:
        return None
    return tuple(sorted(random.sample(range(cpus), random.randint(1, cpus))))


def _vm(
    random: Random, number: int, duration: int, cpus: int, before: list[VM], *, may_wait: bool
) -> VM:
    pages = random.choice([16, 40, 64]) if random.random() < 0.85 else 600
    options: dict[str, Any] = {}
    parents = [vm for vm in before if vm.start == 0 and vm.stop is None]
    if parents and random.random() < 0.2:
        parent = random.choice(parents)
        pages = parent.memory or 0
        options.update(populate="clone", clone_of=parent.name)
    else:
        options.update(populate=random.choice(["demand", "boot"]), image=_image(random, pages))
    if may_wait and random.random() < 0.25:
        options["start"] = random.randint(1, duration // 2)
    if random.random() < 0.25:
        options["stop"] = random.randint(options.get("start", 0) + 300, duration)
    if random.random() < 0.25:
        targets = sorted(random.randint(0, duration) for _ in range(random.randint(1, 3)))
        options["balloon"] = Balloon(
            targets=tuple((when, random.randint(1, pages)) for when in targets),
            rate=random.choice([5_000.0, 50_000.0, 1e9]),
            period=random.choice([100_000, 1 * MS]),
        )
    return VM(
        name=f"guest{number}",
        memory=pages,
        vcpus=random.choice([1, 1, 1, 2, 3]),
        weight=random.choice([256, 1024, 1024, 2048]),
        affinity=_affinity(random, cpus),
        workload=_workload(random, pages),
        mergeable=random.random() < 0.9,
        willing=random.random() < 0.9,
        map_counts=random.choice([{}, {"anonymous": 2, "page-cache": 12}]),
        **options,
    )


def _image(random: Random, pages: int) -> Segments:
    segments = []
    left = pages - random.choice([0, 4, 8])
    while left > 0:
        size = min(left, random.choice([4, 12, 20, 512]))
        left -= size
        zero = random.choice([0.0, 0.3, 1.0])
        segments.append(
            Segment(
                size=size,
                page_class=random.choice(
                    ["anonymous", "page-cache", "kernel", "free", "free", "page-table"]
                ),
                shared_as=random.choice([None, "kernel", "libc"]),
                zero=zero,
                duplicate=random.choice([0.0, 1.0 - zero]),
                patterns=random.choice([1, 5]),
                map_count=random.choice([None, 1, 3]),
                pinned=random.random() < 0.1,
                populated=random.random() < 0.85,
            )
        )
    return Segments(segments=tuple(segments))


def _workload(random: Random, pages: int) -> Workload:
    if random.random() < 0.2:
        count = random.randint(2, 3)
        ends = [
            {"ops": random.randint(1, 60)} if random.random() < 0.5 else {"for_": "1500 us"}
            for _ in range(count)
        ]
        repeat = random.random() < 0.5
        if not repeat and random.random() < 0.5:
            ends[-1] = {}
        return Phases(
            phases=tuple(_simple(random, pages, end) for end in ends),
            repeat=repeat,
        )
    return _simple(random, pages, {})


def _simple(random: Random, pages: int, end: dict[str, Any]) -> Workload:
    accesses = random.choice([1, 3, 8])
    common: dict[str, Any] = {
        "accesses": accesses,
        "op_time": random.choice([2_000, 13_333, 60_000]),
        "write_fraction": random.choice([0.0, 0.05, 0.5, 1.0]),
        "overwrites": random.choice([0.0, 0.5]),
        "tlb_miss": random.choice([0.0, 0.3]),
        "rate": random.choice([None, None, 3_001.5, 90_000.0]),
        "new_content": random.choice(["unique", "pool", "same"]),
        "pool": random.choice([1, 6]),
        "pool_name": random.choice([None, "shared"]),
        "activity": random.choice(
            [
                PageTableActivity(),
                PageTableActivity(),
                PageTableActivity(faults=1, updates=2, switches=1),
                PageTableActivity(faults=2, updates=7, tables=1, switches=1),
            ]
        ),
        **end,
    }
    if random.random() < 0.3:
        start = random.randint(0, pages // 2)
        common["region_start"] = start
        common["region"] = random.randint(1, pages - start)
    kind = random.randrange(9)
    if kind == 0 and not end.get("ops"):
        return Idle(**end)
    if kind == 1:
        return CpuBound(op_time=common["op_time"], rate=common["rate"], **end)
    if kind == 2:
        return ZipfAccess(exponent=random.choice([0.5, 1.2]), **common)
    if kind == 3:
        return HotSet(hot=random.choice([0.1, 1.0]), **common)
    if kind == 4:
        return Sequential(**common)
    if kind == 5:
        size = random.choice([8, 100])
        order = random.choice(["sequential", "random"])
        return FileReader(file_size=size, order=order, **common)
    if kind == 6:
        return PageTableHeavy(op_time="300 us", **end)
    return RandomAccess(**common)
