"""A sweep and a run whose every name tries to break out of the page that reports it."""

from pathlib import Path

import pytest

from sharesim.cli import main

ATTACK = "<script>alert(1)</script>"
SCRIPT = f'''
from typing import Literal

from sharesim import VM, Cbps, Host, RandomAccess, Scenario, Segment, Segments, Sharing
from sharesim.errors import UserError


def scenario(
    scan_rate: int = 20_000,
    kind: Literal["plain", "{ATTACK}", "</script>", "bad"] = "plain",
    guests: int = 2,
) -> Scenario:
    """What {ATTACK} costs & "why"; ]]> --> </title> </style>.

    A second paragraph.

    scan_rate: pages {ATTACK} per second
    kind: a name, such as </script>
    """
    if kind == "bad":
        raise UserError("kind: found {ATTACK} & </script>, which is too bad")
    shared = Segment(size="512 KiB", shared_as="{ATTACK}")
    image = Segments(segments=(shared, Segment(size="1 MiB")))
    work = RandomAccess(op_time="100 us", accesses=2, write_fraction=0.2, operation="{ATTACK}")
    return Scenario(
        title="{ATTACK} </title> & co",
        duration="40 ms",
        warmup="5 ms",
        sample_every="1 ms",
        host=Host(cpus=1),
        vms=[VM(name=f"vm{{number}}", image=image, workload=work) for number in range(guests)],
        sharing=Sharing(policy=Cbps(scan_rate=scan_rate, wake_period="2 ms")),
    )
'''
KINDS = f"plain,{ATTACK},</script>"
TITLE = f"{ATTACK} </title> & co"


def made_sweep(place: Path, patch: pytest.MonkeyPatch) -> Path:
    """Points 1 to 9 with two replicates each, of which those of kind "bad" (10 to 12) fail."""
    patch.chdir(place)
    Path("hostile.py").write_text(SCRIPT, encoding="utf-8")
    arguments = ["--vary", f"kind={KINDS},bad", "--vary", "scan_rate=5000,20000,80000"]
    command = ["sweep", "hostile.py", *arguments, "--replicates", "2", "--jobs", "1"]
    assert main([*command, "--out", "swept", "--quiet"]) in (0, 1)
    return place / "swept"


def made_run(place: Path, patch: pytest.MonkeyPatch) -> Path:
    """One run of the same script, with its pairs."""
    patch.chdir(place)
    Path("hostile.py").write_text(SCRIPT, encoding="utf-8")
    assert main(["run", "hostile.py", "--baseline", "--out", "ran", "--quiet", "--no-plot"]) == 0
    return place / "ran"
