"""What a recording shows, in a few lines."""

from collections.abc import Iterator

from sharesim.live.record import Recording
from sharesim.spec.units import show_size

RUN = {0: "KSM is stopped (run=0)", 1: "KSM scans (run=1)", 2: "KSM has unmerged all (run=2)"}


def recording_text(recording: Recording) -> str:
    """How much was sampled, how fast ksmd was, what it saved."""
    missed = f"; {recording.missed} more came too late" if recording.missed else ""
    length = recording.length_ns / 1e9
    lines = [f"{recording.path}: {recording.samples:,} samples in {length:.4g} s{missed}"]
    lines.append(", ".join(_activity(recording)))
    lines.append(f"saved by KSM's own count: {_saved(recording.first)} -> {_saved(recording.last)}")
    lines += _counters(recording)
    return "\n".join(lines)


def _activity(recording: Recording) -> Iterator[str]:
    length = max(recording.length_ns, 1)
    yield RUN.get(recording.last["run"], f"run={recording.last['run']}")
    scanned = recording.change("pages_scanned")
    if scanned is not None:
        yield f"{scanned:,} pages examined ({scanned * 1e9 / length:,.0f}/s)"
    yield f"{recording.change('full_scans'):,} full scans"
    cpu = recording.change("ksmd_cpu_ns")
    yield (
        "ksmd is out of sight" if cpu is None else f"ksmd used {100 * cpu / length:.3g} % of a CPU"
    )


def _saved(sample: dict[str, int]) -> str:
    return show_size(sample["pages_sharing"] + sample.get("ksm_zero_pages", 0))


def _counters(recording: Recording) -> Iterator[str]:
    names = ("pages_shared", "pages_sharing", "pages_unshared", "pages_volatile", "ksm_zero_pages")
    shown = [f"{name} {recording.first[name]:,} -> {recording.last[name]:,}"
             for name in names if name in recording.first]  # fmt: skip
    breaks = recording.change("cow_ksm")
    if breaks is not None:
        shown.append(f"{breaks:,} copy-on-write breaks")
    yield ", ".join(shown)
