"""Which processes use KSM now."""

from collections.abc import Iterator
from pathlib import Path

from sharesim.errors import UserError
from sharesim.live.sysfs import STOP, Ksm

SHOWN = 5


def mergeable_processes(proc: Path) -> list[str]:
    """Processes with memory that KSM may merge, such as ``"qemu-kvm (4711)"``; needs root.

    Linux 6.12 says it outright. Before, a process is found by the pages that ksmd knows of it, or
    by the flag of its areas, which takes longer.
    """
    return sorted(_mergeable(proc))


def _mergeable(proc: Path) -> Iterator[str]:
    for process in proc.glob("[0-9]*"):
        try:
            if _may_merge(process):
                yield f"{(process / 'comm').read_text().strip()} ({process.name})"
        except OSError:  # it has ended meanwhile
            continue


def _may_merge(process: Path) -> bool:
    fields = _fields(process / "ksm_stat")
    if "ksm_mergeable:" in fields:
        return fields["ksm_mergeable:"] == "yes"
    if fields.get("ksm_rmap_items", "0") != "0" or fields.get("ksm_merge_any:") == "yes":
        return True
    areas = (process / "smaps").read_text().splitlines()
    return any(line.startswith("VmFlags:") and " mg" in line for line in areas)


def _fields(path: Path) -> dict[str, str]:
    """The lines "name value" of a file; nothing before Linux 6.1, which has no such file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split(maxsplit=1) for line in lines)


def check_unused(ksm: Ksm) -> None:
    """`UserError` if somebody else has memory that KSM merges, or could."""
    users = mergeable_processes(ksm.proc)
    shared = int(ksm.read("pages_shared"))
    if users:
        more = len(users) - SHOWN
        shown = ", ".join(users[:SHOWN]) + (f", and {more} more" if more > 0 else "")
        busy = f"mergeable memory in {shown}"
    elif shared and ksm.read("run") != str(STOP):
        busy = f"it runs, and {shared:,} shared pages are there"
    else:
        return
    raise UserError(
        f"this machine's KSM is in use ({busy}). A case starts from nothing: it would unmerge all"
        " pages and change every setting while it runs, and the other pages would be counted with"
        " its own. End those processes, or insist with --force"
    )
