"""The tree of errors is whole wherever `core.all_errors` is imported."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import core
from core.all_errors import MODULES, tree
from core.errors import SecateurError
from tests.unit.test_api_contract import ABSENT_WITHOUT_THE_WORKER_EXTRA

CORE = Path(core.__path__[0])


class Class(NamedTuple):
    module: str
    name: str
    bases: frozenset[str]


def classes_in(source: str, module: str) -> Iterator[Class]:
    """Every class, nested ones too; of a base, only its last name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            bases = frozenset(ast.unparse(base).rpartition(".")[2] for base in node.bases)
            yield Class(module, node.name, bases)


def errors_among(classes: Iterable[Class]) -> set[Class]:
    """Those that come from SecateurError, over however many steps."""
    left, names, found = set(classes), {SecateurError.__name__}, set[Class]()
    while more := {each for each in left if each.bases & names}:
        left -= more
        found |= more
        names |= {each.name for each in more}
    return found


def written() -> set[Class]:
    """All errors in the source of the core, imported or not."""
    return errors_among(
        each
        for path in CORE.rglob("*.py")
        for each in classes_in(
            path.read_text(), ".".join(path.relative_to(CORE.parent).with_suffix("").parts)
        )
    )


def test_errors_are_found_in_source_over_several_steps() -> None:
    source = "class B(A): ...\nclass A(errors.SecateurError): ...\nclass C(ValueError): ...\n"
    assert {each.name for each in errors_among(classes_in(source, "m"))} == {"A", "B"}


def test_no_module_with_errors_is_left_out() -> None:
    known = {module.__name__ for module in MODULES}
    missing = {each for each in written() if each.module not in known}
    assert not missing, "name their modules in core/all_errors.py"
    assert known == {each.module for each in written()}


def test_codes_are_unique() -> None:
    def classes(root: type[SecateurError]) -> int:
        return 1 + sum(classes(child) for child in root.__subclasses__())

    assert len(tree()) == classes(SecateurError)


def test_one_import_is_enough_and_brings_nothing_else() -> None:
    unwanted = [*ABSENT_WITHOUT_THE_WORKER_EXTRA, "fastapi", "celery", "sqlalchemy", "httpx"]
    code = (
        "import sys; from core.all_errors import tree; print(sorted(tree()));"
        f"print([m for m in {unwanted} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    codes, loaded = done.stdout.splitlines()
    own = [code for code, kind in tree().items() if kind.__module__.startswith("core.")]
    assert codes == str(sorted(own))
    assert loaded == "[]"
