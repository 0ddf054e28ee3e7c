"""Puts the folders of shards together into the sweep that they are parts of."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sharesim.errors import UserError
from sharesim.results.folder import disk_errors
from sharesim.sweep.plan import Cell
from sharesim.sweep.store import CODE, FAILED, PAIRS, RUNS, Store
from sharesim.sweep.sweep import Sweep
from sharesim.sweep.table import update_table

_KEPT = ("shard",)
"""Of the manifest's extras: what a part has and the whole has not."""


def merge(places: Sequence[str | Path], into: str | Path) -> Sweep:
    """Copy what is done in each part into one folder, and write its table.

    A folder that is there already takes part; runs are hard links where the disk allows it. Raises
    UserError where the parts are not parts of one sweep.
    """
    parts = [Sweep(place) for place in places]
    store = Store(into)
    if store.exists():
        parts.insert(0, Sweep(into))
    elif store.place.exists() and any(store.place.iterdir()):
        raise UserError(f"--out {into}: that folder is not empty and holds no sweep")
    _check_alike(parts)
    with store.driven(("sharesim", "sweep", "merge")):
        for part in parts:
            if part.store.place.resolve() != store.place.resolve():
                _copy(part.store, store)
        whole = parts[0].manifest
        extra = {name: value for name, value in whole.extra.items() if name not in _KEPT}
        replicates = max(part.manifest.replicates for part in parts)
        command = _of_the_whole(whole.command)
        store.write_manifest(replace(whole, extra=extra, replicates=replicates, command=command))
        cells = _cells(parts)
        store.write_cells(cells, whole.inputs)
        update_table(store, cells)
    return Sweep(into)


def _of_the_whole(command: Sequence[str]) -> tuple[str, ...]:
    """A part's command without what makes it one of a part."""
    words = list(command)
    if "--shard" in words:
        at = words.index("--shard")
        del words[at : at + 2]
    return tuple(word for word in words if not word.startswith("--shard="))


def _check_alike(parts: Sequence[Sweep]) -> None:
    first = parts[0]
    for part in parts[1:]:
        ours, theirs = (
            replace(one.manifest, extra={k: v for k, v in one.manifest.extra.items()
                                         if k not in _KEPT})
            for one in (first, part)
        )  # fmt: skip
        found = ours.differences(theirs)
        if ours.model_version != theirs.model_version:
            found.append(f"model version {ours.model_version}, now {theirs.model_version}")
        elif ours.inputs != theirs.inputs and not found:
            found.append("the script was another one")
        if found:
            raise UserError(
                f"{first.folder} and {part.folder} are not of one sweep: {'; '.join(found)}"
            )


def _cells(parts: Sequence[Sweep]) -> list[Cell]:
    """All cells of all parts, each once."""
    found = {(cell.point, cell.replicate): cell for part in parts for cell in part.cells}
    return [found[place] for place in sorted(found)]


def _copy(source: Store, target: Store) -> None:
    with disk_errors(target.place):
        for kind in (RUNS, PAIRS):
            for key in sorted(source.keys(kind) - target.keys(kind)):
                with target.new_result(kind, key) as folder:
                    shutil.copytree(
                        source.place / kind / key, folder.path, dirs_exist_ok=True,
                        copy_function=_link,
                    )  # fmt: skip
        (target.place / FAILED).mkdir(parents=True, exist_ok=True)
        done = target.keys(RUNS) | target.keys(PAIRS)
        for key in sorted(source.keys(FAILED) - target.keys(FAILED) - done):
            name = f"{FAILED}/{key}.json"
            target.replace_file(name, (source.place / name).read_bytes())
        if not (target.place / CODE).exists():
            shutil.copytree(source.place / CODE, target.place / CODE)


def _link(source: str, target: str) -> str:
    """A hard link; a copy where the disk has none, or the folders are on two disks."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)
    return target
