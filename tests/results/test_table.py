"""The printed table, from summaries made up for the purpose."""

from typing import Any

from sharesim.results import recorder
from sharesim.results.table import HELD, PREDICTION, summary_rows, summary_text

LEDGER = {"work": 900, "paging": 0, "sharing": 1, "ready": 99}


def difference(value: float | None, half: float, distinguishable: bool = True) -> dict[str, Any]:
    return {"value": value, "half_width": half, "distinguishable": distinguishable}


def guest(loss: dict[str, Any] | None = None, *, paced: bool = False) -> dict[str, Any]:
    overhead: dict[str, Any] = {}
    if loss is not None:
        overhead = {"sharing": loss, "paging": loss, "total": loss, "cpu_per_operation": loss}
    if paced:
        late = {"with_sharing": 3000.0, "without": 1000.0, "difference": 2000.0}
        overhead = {"lateness_ns": late, "cpu_per_operation": loss}
    return {
        "paced": paced,
        "operations": 1000,
        "throughput_per_s": 1234.5,
        "lateness_ns_per_operation": 3000.0 if paced else None,
        "cpu_ns_per_operation": 54321.0,
        "ledger_ns": LEDGER,
        "latency": {"cow break": {"count": 5, "p50_ns": 1984, "p99_ns": 2432, "p999_ns": 2432}},
        "overhead": overhead,
    }


def summary(guests: dict[str, Any], **changes: Any) -> dict[str, Any]:
    counters = dict.fromkeys(
        ["merges", "zero_merges", "merge_aborted", "false_matches", "cow_breaks", "zero_breaks",
         "reuses", "splits", "near_races", "corrupted_pages", "wrong_merges"], 0)  # fmt: skip
    host = next(iter(guests.values()))
    return {
        "scenario": "made up",
        "seed": 7,
        "partial": False,
        "mode": "decoupled",
        "sync_quantum_ns": 20_000,
        "duration_ns": 2_000_000_000,
        "simulated_ns": 2_000_000_000,
        "window_ns": [0, 2_000_000_000],
        "paging": "nested",
        "sharing": "transparent",
        "memory": {
            "saved_pages": 512,
            "saved_zero_pages": 256,
            "net_saved_pages": 500,
            "opportunity_pages": 1024,
            "opportunity_zero_pages": 256,
            "peak_saved_pages": 600,
            "realised": 0.5,
            "time_to_90_percent_ns": 530_000_000,
        },
        "counters": counters | {"merges": 2119, "near_races": 3},
        "scanner": {
            "policy": "cbps",
            "placement": "thread",
            "requested_rate": 5000.0,
            "achieved_rate": 4321.0,
            "cpu_share": 0.0148,
            "ns_per_page": 2960.5,
            "passes": 3,
            "pages_hashed": 4478,
            "overruns": 2,
        },
        "guests": guests,
        "host": {
            "operations": 3000,
            "cpu_ns_per_operation": 60_000.0,
            "ledger_ns": LEDGER,
            "overhead": host["overhead"],
        },
        "costs": {"profile": "modern-x86-ept", "primitives": {}},
        "not_modelled": ["interference"],
        **changes,
    }


def line(text: str, begin: str) -> str:
    return next(one for one in text.splitlines() if one.strip().startswith(begin))


def test_memory_is_shown_against_what_is_possible() -> None:
    text = summary_text(summary({"a": guest()}))
    assert line(text, "zero pages").split() == ["zero", "pages", "1.00", "1.00", "100.0", "%"]
    assert line(text, "other pages").split()[2:] == ["1.00", "3.00", "33.3", "%"]
    assert line(text, "together").split()[1:] == ["2.00", "4.00", "50.0", "%"]
    assert "1.95" in line(text, "net of")
    assert "90 % of it after 0.53 s" in text


def titles(text: str) -> list[str]:
    return [part.partition("\n")[0] for part in text.split("\n\n")]


def test_what_the_hypervisor_holds_is_shown_where_paging_holds_some() -> None:
    nested = summary({"a": guest()})
    nested["memory"] |= {"policy_table_pages": 12}
    assert not any(title.startswith("Held") for title in titles(summary_text(nested)))
    shadow = summary({"a": guest()}, paging="shadow", paging_parameters={"scale": 0.25})
    held = dict(zip(("policy_table", "shadow_pool", "rmap", "domain_state"), (12, 256, 256, 0),
                    strict=True))  # fmt: skip
    shadow["memory"] |= {f"{kind}_pages": pages for kind, pages in held.items()}
    text = summary_text(shadow)
    table = next(part for part in text.split("\n\n") if part.startswith("Held"))
    assert "domain state" not in table
    assert line(table, "MiB").split() == ["MiB", "0.05", "1.00", "1.00", "2.05"]
    assert "2 s, shadow paging (scale=0.25), transparent sharing by cbps," in text.splitlines()[0]


def test_everything_that_is_held_is_recorded_and_shown() -> None:
    assert set(HELD) == set(recorder.HELD)


def test_page_tables_are_shown_where_the_hypervisor_has_to_do_with_them() -> None:
    nested = summary({"a": guest()})
    nested["counters"] |= {"guest_faults": 1_000, "pt_updates": 1_000}
    assert "Page tables" not in titles(summary_text(nested))
    shadow = summary({"a": guest()}, paging="shadow")
    shadow["counters"] |= {"guest_faults": 1_000, "pt_updates": 1_200, "hidden_faults": 34}
    tables = {title: (header, rows) for title, header, rows in summary_rows(shadow)}
    header, rows = tables["Page tables"]
    assert header == ["", "guest faults", "updates", "hidden faults"]
    assert rows == [["", "1,000", "1,200", "34"]]


def test_offers_are_shown_with_what_became_of_them() -> None:
    run = summary({"a": guest()}, paging="direct", sharing="paravirtual")
    run["counters"] |= {"offers": 30, "offer_batches": 2, "offers_shared": 20, "upcalls": 5}
    text = summary_text(run)
    assert PREDICTION in text
    tables = {title: (header, rows) for title, header, rows in summary_rows(run)}
    header, rows = tables["Offers to guests"]
    assert header == ["", "offered", "batches", "shared", "breaks by guests"]
    assert rows == [["", "30", "2", "20", "5"]]
    transparent = summary_text(summary({"a": guest()}))
    assert PREDICTION not in transparent and "Offers to guests" not in titles(transparent)


def test_scanner_and_counters() -> None:
    text = summary_text(summary({"a": guest()}))
    assert line(text, "cbps (thread)").split()[2:6] == ["5,000", "4,321", "1.48", "2,960"]
    assert "2,119" in line(text, "pages ")
    assert "near races" in text


def test_differences_small_large_and_none() -> None:
    cases = {
        "large": difference(0.0385, 0.0345),
        "small": difference(0.000075, 0.00001),
        "noise": difference(0.0385, 0.0412, distinguishable=False),
        "quiet": difference(0.00001, 0.00002, distinguishable=False),
        "gain": difference(-0.0051, 0.001),
        "sharp": difference(0.2, 0.0),
        "empty": difference(None, 0.0, distinguishable=False),
    }
    text = summary_text(summary({name: guest(loss) for name, loss in cases.items()}))
    assert "3.85 ± 3.45 %" in line(text, "large")
    assert "75 ± 10 ppm" in line(text, "small")
    assert "n.d. ± 4.12 %" in line(text, "noise")
    assert "n.d. ± 20 ppm" in line(text, "quiet")
    assert "-0.51 ± 0.10 %" in line(text, "gain")
    assert "20.0 ± 0.00 %" in line(text, "sharp")
    assert line(text, "empty").split()[2] == "-"
    assert "not distinguishable" in text


def test_without_pairs_there_is_no_overhead_to_show() -> None:
    text = summary_text(summary({"a": guest()}))
    assert "loss by sharing" not in text
    assert "--baseline" in text


def test_paced_guests_show_lateness() -> None:
    text = summary_text(summary({"a": guest(difference(0.01, 0.001), paced=True)}))
    late = next(one for one in text.split("\n\n") if one.startswith("Lateness"))
    assert "3 us" in line(late, "a")
    assert "2 us" in line(late, "a")


def test_corruption_and_interruption_cannot_be_missed() -> None:
    bad = summary({"a": guest()})
    bad["counters"]["corrupted_pages"] = 12
    bad["counters"]["wrong_merges"] = 2
    assert "\nCORRUPTED: 12 pages" in summary_text(bad)
    early = summary({"a": guest()}, partial=True, simulated_ns=500_000_000)
    assert "\nPARTIAL: interrupted; 0.5 s of 2 s" in summary_text(early)
    assert "CORRUPTED" not in summary_text(early)


def test_a_run_that_ended_before_its_warm_up() -> None:
    early = summary({"a": guest()}, partial=True)
    for key in ("memory", "counters", "scanner", "guests", "host", "costs", "not_modelled"):
        del early[key]
    assert summary_rows(early) == []
    assert "nothing was measured" in summary_text(early)


def test_many_guests_are_summed_up() -> None:
    guests = {f"guest{at}": guest(difference(at / 1000, 1e-4)) for at in range(40)}
    text = summary_text(summary(guests))
    assert "... 32 between ..." in text
    assert "guest3 " in text
    assert "guest36" in text
    assert "guest20" not in text


def test_paced_guests_and_others_are_summed_up_apart() -> None:
    loss = difference(0.01, 0.001)
    guests = {f"guest{at}": guest(loss, paced=at % 2 == 1) for at in range(14)}
    tables = {title.split()[0]: rows for title, _, rows in summary_rows(summary(guests))}
    closed = [f"guest{at}" for at in range(0, 14, 2)]
    assert [row[0] for row in tables["Throughput,"]] == [*closed, "host"]
    assert [row[0] for row in tables["Lateness"]] == [f"guest{at}" for at in range(1, 14, 2)]


def test_a_run_without_sharing() -> None:
    text = summary_text(summary({"a": guest()}, sharing="none", scanner=None))
    assert "no sharing" in text.splitlines()[0]
    assert "Scanner" not in text
    assert "--baseline" not in text


def test_the_table_is_no_wider_than_a_screen() -> None:
    guests = {f"a-long-name-{at}": guest(difference(0.0385, 0.0345)) for at in range(12)}
    assert max(map(len, summary_text(summary(guests)).splitlines())) <= 110


def test_rows_match_their_header() -> None:
    for title, header, rows in summary_rows(summary({"a": guest(difference(0.01, 0.001))})):
        assert title
        assert {len(row) for row in rows} == {len(header)}
