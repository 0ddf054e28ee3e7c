"""Scenario scripts: a Python file whose function ``scenario`` makes a :class:`Scenario`.

Or its function ``study`` makes a :class:`Study` of several scenarios; a script has one of the two.
The function's annotated parameters, all with defaults, are what ``--set`` and a sweep can vary; its
docstring is its help, with lines ``name: help`` for the parameters. A ``scenario.json``, or the run
folder that holds one, loads too and has no parameters.

A script may define policies and the like itself: it is imported under its file's name, so they are
``script:Class``. The run folder keeps a copy of such code below ``code/``, where loading its
``scenario.json`` looks first; so nothing in it depends on where the script was.
"""

import importlib.util
import inspect
import linecache
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sharesim.errors import UserError, nearest
from sharesim.spec.parameters import Parameter, parameter_of, parse_value
from sharesim.spec.scenario import Scenario
from sharesim.study import STUDY_FILE, Row, Study, runs_within

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sharesim.results.run import Run

FUNCTIONS = ("scenario", "study")
SCENARIO_FILE = "scenario.json"
CODE_FOLDER = "code"

_ALIAS = "sharesim_scenario_script"
"""The module name of a script whose own is taken, or is none."""
_HELP_LINE = re.compile(r"(\w+)(?:\s*\([^)]*\))?\s*:\s+(\S.*)")
_SECTION = re.compile(r"(args|arguments|parameters)\s*:?", re.IGNORECASE)

_loaded: dict[str, ModuleType] = {}
"""Modules that came from scripts' folders: the next script replaces, never inherits, them."""


@dataclass(frozen=True)
class Target:
    """What ``sharesim run`` was given, loaded but not yet called."""

    path: Path
    name: str
    """The script's name without its ending, or the run folder's."""
    help: str = ""
    parameters: dict[str, Parameter] = field(default_factory=dict)
    function: Callable[..., Any] | None = None
    makes: str = "scenario"
    """The name of the function: ``"scenario"`` or ``"study"``."""
    text: str | None = None
    """The JSON of a target that is no script."""

    @property
    def is_script(self) -> bool:
        """Whether it has a function to call."""
        return self.function is not None

    @property
    def is_study(self) -> bool:
        """Whether its function makes a study, not a scenario."""
        return self.is_script and self.makes == "study"

    @property
    def run_folder(self) -> Path | None:
        """The run folder it was taken from, if any."""
        beside = self.path.parent / "summary.json"
        return None if self.is_script or not beside.exists() else self.path.parent

    def build(self, settings: Mapping[str, Any] | None = None) -> Scenario:
        """The scenario, with parameters as given; UserError for whatever is wrong with them."""
        if self.is_study:
            raise UserError(f"{self.path} is a study of several scenarios; a single one is needed")
        if self.function is None:
            for name in settings or {}:
                self._require(name)
            return Scenario.from_json(self.text or "", str(self.path))
        value: Scenario = self._call(settings, Scenario)
        return value if value.title else value.model_copy(update={"title": self.name})

    def build_study(self, settings: Mapping[str, Any] | None = None) -> Study:
        """The study of a script that :attr:`is_study`; UserError as of :meth:`build`."""
        return ScriptedStudy(self._call(settings, Study), self)

    def code(self) -> dict[str, Path]:
        """The script and what it imported from its folder: path to keep it at, and source."""
        module = getattr(self.function, "__module__", "")
        return {self.path.name: self.path.resolve(), **code_files([module])}

    def _call(self, settings: Mapping[str, Any] | None, wanted: type) -> Any:
        """What the script's function returns, which has to be a ``wanted``."""
        settings = dict(settings or {})
        for name in settings:
            self._require(name)
        assert self.function is not None
        call = f"{self.makes}()"
        value = _guarded(self.path, call, partial(self.function, **settings))
        if not isinstance(value, wanted):
            raise UserError(
                f"{self.path}: {call} returned {_kind(value)}; it must return a {wanted.__name__}"
            )
        return value

    def parse(self, assignments: Sequence[str]) -> dict[str, Any]:
        """Values of ``name=text`` by the annotations of the script's parameters."""
        settings: dict[str, Any] = {}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            name = name.strip()
            if not equals or not name:
                raise UserError(f"--set {assignment}: write it as --set name=value")
            if name in settings:
                raise UserError(f"--set {name}: given twice")
            settings[name] = parse_value(self._require(name), text)
        return settings

    def parameter(self, name: str, option: str) -> Parameter:
        """The parameter that an option names. Raises UserError, with the nearest name."""
        return self._require(name, option)

    def _require(self, name: str, option: str = "--set") -> Parameter:
        if self.function is None:
            raise UserError(
                f"{option} {name}: {self.path} is a finished scenario without parameters; give the"
                " script it came from"
            )
        if name not in self.parameters:
            hint = nearest(name, self.parameters) or "; it has none"
            raise UserError(f"{self.path} has no parameter '{name}'{hint}")
        return self.parameters[name]


class ScriptedStudy(Study):
    """A script's study, whose errors become messages with their place in the script."""

    def __init__(self, study: Study, target: Target) -> None:
        self._study = study
        self._path = target.path
        # Constants of a class elsewhere; this class stands in for many.
        self.name = study.name or target.name  # type: ignore[misc]
        self.title = study.title or target.help.partition("\n")[0]  # type: ignore[misc]

    def runs(self) -> dict[str, Scenario]:
        """See :meth:`Study.runs`, as for all others."""
        return self._guarded("runs()", self._study.runs)

    def rows(self, runs: Mapping[str, "Run"]) -> list[Row]:
        return self._guarded("rows()", partial(self._study.rows, runs))

    def notes(self, runs: Mapping[str, "Run"]) -> list[str]:
        return self._guarded("notes()", partial(self._study.notes, runs))

    def picture(self, runs: Mapping[str, "Run"], rows: list[Row]) -> "Figure | None":
        return self._guarded("picture()", partial(self._study.picture, runs, rows))

    def _guarded(self, what: str, action: Callable[[], Any]) -> Any:
        return _guarded(self._path, what, action)


def load_target(place: str | Path) -> Target:
    """A script ``.py``, a ``scenario.json`` or a run folder; UserError when it is none of them."""
    path, text = _read(Path(place))
    forget_scripts()
    if path.suffix == ".py":
        return _load_script(path)
    if path.suffix == ".json":
        folder = path.resolve().parent
        of_sweep = folder.parent.parent / CODE_FOLDER  # one copy for all of its runs
        find_code_in(folder / CODE_FOLDER, of_sweep, folder, Path.cwd())
        name = folder.name if path.name == SCENARIO_FILE else path.stem
        return Target(path, name, text=text)
    raise UserError(f"{path}: give a scenario script (.py), a {SCENARIO_FILE} or a run folder")


def _read(path: Path) -> tuple[Path, str]:
    """The file that a path means, and its text."""
    try:
        if path.is_dir():
            if (path / STUDY_FILE).is_file():
                code = path / CODE_FOLDER
                raise UserError(
                    f"{path} holds a study: give its script, if {code} has it, or one of its runs;"
                    f" {runs_within(path)}"
                )
            if (path / "sweep.json").is_file():
                raise UserError(
                    f"{path} holds a sweep: give its script, {path / CODE_FOLDER} has it, or one of"
                    f" its runs, {path / 'runs'}/KEY; its table has the keys"
                )
            if not (path / SCENARIO_FILE).is_file():
                raise UserError(f"{path} is a folder without {SCENARIO_FILE}, so no run folder")
            path = path / SCENARIO_FILE
        if not path.exists():
            raise UserError(f"{path}: there is no such file{_near(path)}")
        if not path.is_file():
            raise UserError(f"{path} is no plain file; give a scenario script or a {SCENARIO_FILE}")
        return path, path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UserError:
        raise
    except ValueError:  # not UTF-8, or a path with a null character
        raise UserError(f"{path} is no text; give a scenario script or a {SCENARIO_FILE}") from None


def find_code_in(*folders: Path) -> None:
    """Let ``module:Class`` names be found in these folders, after what is installed."""
    for folder in folders:
        if folder.is_dir() and str(folder) not in sys.path:
            # At the end: a script called like a library must not replace it for everybody.
            sys.path.append(str(folder))
            _folders.append(str(folder))


_folders: list[str] = []


def forget_scripts() -> None:
    """Drop the modules and paths of scripts loaded before, so that two cannot be mixed up."""
    for folder in _folders:
        if folder in sys.path:
            sys.path.remove(folder)
    roots = [Path(folder) for folder in _folders]
    for name, module in list(sys.modules.items()):
        if _loaded.get(name) is module or _below(module, roots) is not None:
            del sys.modules[name]
    _loaded.clear()
    _folders.clear()
    linecache.checkcache()
    importlib.invalidate_caches()


def code_files(modules: Sequence[str]) -> dict[str, Path]:
    """What a run folder must keep to find these modules again: path in it, and source now.

    With a script's module come the others of its folder that are imported: its helpers. Installed
    modules are left out; whoever runs the scenario has to install them as well.
    """
    roots = [Path(folder) for folder in _folders]
    if not any(_below(sys.modules.get(name), roots) is not None for name in modules):
        return {}
    found: dict[str, Path] = {}
    for module in list(sys.modules.values()):
        place = _below(module, roots)
        if place is not None:
            found[place] = Path(str(module.__file__))
    return dict(sorted(found.items()))


def _below(module: ModuleType | None, roots: Sequence[Path]) -> str | None:
    """The path of a module's source within the first of the folders that it was imported from."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py") or module is None:
        return None
    if module.__name__ == "__main__":  # the program itself, also where it lies beside a script
        return None
    parts = module.__name__.split(".")
    path = Path(file)
    inside = Path(*parts, "__init__.py") if path.name == "__init__.py" else Path(*parts)
    inside = inside if inside.suffix == ".py" else inside.with_name(inside.name + ".py")
    return next((inside.as_posix() for root in roots if root / inside == path), None)


def _near(path: Path) -> str:
    folder = path.parent
    names = [entry.name for entry in folder.glob("*.py")] if folder.is_dir() else []
    return nearest(path.name, names) if names else ""


def _load_script(path: Path) -> Target:
    module = _import(path)
    makes = _function_of(module, path)
    function = getattr(module, makes)
    place = f"{path}:{function.__code__.co_firstlineno}: {makes}()"
    try:
        signature = inspect.signature(function, eval_str=True)
    except Exception as error:  # an annotation may be any expression
        raise UserError(f"{place}: its annotations fail: {error}") from None
    text, helps = split_help(inspect.getdoc(function) or "", list(signature.parameters))
    if not text:
        text = (module.__doc__ or "").strip()
    parameters = {
        name: parameter_of(one, helps.get(name, ""), place)
        for name, one in signature.parameters.items()
    }
    return Target(path, path.stem, text, parameters, function, makes)


def _function_of(module: ModuleType, path: Path) -> str:
    """The name of the one function that a script is about."""
    named = {name: getattr(module, name) for name in FUNCTIONS if hasattr(module, name)}
    found = [name for name, value in named.items() if inspect.isfunction(value)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"{path} has functions 'scenario' and 'study', but can be only one of them; give the"
            " other one another name, also where it is imported"
        )
    found = [f"{_kind(value)} called '{name}'" for name, value in named.items()]
    held = " and ".join(found) or "no function 'scenario' or 'study'"
    raise UserError(
        f"{path} has {held}; a scenario script defines `def scenario(vms: int = 4) -> Scenario`"
    )


def _import(path: Path) -> ModuleType:
    """Run the script as a module of its own name, with its folder on the path."""
    source = path.resolve()
    find_code_in(source.parent)
    name = path.stem
    if not name.isidentifier() or _taken(name, source):
        name = _ALIAS
    specification = importlib.util.spec_from_file_location(name, source)
    if specification is None or specification.loader is None:
        raise UserError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = _loaded[name] = module
    loader = specification.loader
    _guarded(path, "the script", lambda: loader.exec_module(module))
    return module


def _taken(name: str, source: Path) -> bool:
    """Whether ``import name`` would find something else than this script."""
    if name in sys.modules or name in sys.stdlib_module_names:
        return True
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return True
    return found is not None and Path(found.origin or "").resolve() != source


def _guarded(path: Path, what: str, action: Callable[[], Any]) -> Any:
    """Run the user's code; what it raises becomes one message with the place in the script."""
    keep = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # no __pycache__ beside the user's scripts
    try:
        return action()
    except UserError:
        raise
    except SyntaxError as error:
        file = _shown(error.filename or str(path), path)
        raise UserError(
            f"{file}:{error.lineno}: {error.msg}: {(error.text or '').strip()}"
        ) from None
    except SystemExit:
        raise UserError(f"{path}: {what} called sys.exit") from None
    except Exception as error:
        place = _where(error, path)
        raise UserError(f"{place}: {what} failed: {type(error).__name__}: {error}") from None
    finally:
        sys.dont_write_bytecode = keep


def _where(error: BaseException, path: Path) -> str:
    """``file:line`` of the innermost frame in the script, or in what lies beside it."""
    folder = path.resolve().parent
    frames = traceback.extract_tb(error.__traceback__)
    files = [Path(frame.filename) for frame in frames]
    script = [file == path.resolve() for file in files]
    beside = [file.is_relative_to(folder) for file in files]
    for wanted in (script, beside):
        for frame, it in reversed(list(zip(frames, wanted, strict=True))):
            if it:
                line = f" ({frame.line})" if frame.line else ""
                return f"{_shown(frame.filename, path)}:{frame.lineno}{line}"
    return str(path)


def _shown(filename: str, path: Path) -> str:
    """A file as the user would name it, given how they named the script."""
    found = Path(filename)
    folder = path.resolve().parent
    return (
        str(path.parent / found.relative_to(folder)) if found.is_relative_to(folder) else filename
    )


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"


def split_help(text: str, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """A docstring's own text, and the help of each parameter from its lines ``name: help``."""
    rest: list[str] = []
    helps: dict[str, str] = {}
    current, indent = "", 0
    for line in text.splitlines():
        bare = line.strip()
        depth = len(line) - len(line.lstrip())
        match = _HELP_LINE.fullmatch(bare)
        if match is not None and match[1] in names:
            current, indent = match[1], depth
            helps[current] = match[2]
        elif current and bare and depth > indent:
            helps[current] += f" {bare}"
        else:
            current = ""
            if _SECTION.fullmatch(bare) is None:
                rest.append(line)
    return "\n".join(rest).strip(), helps
