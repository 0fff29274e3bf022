"""The doors of docs/design/house, held shut by reading the imports; and what a file may be."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: A room's folder, and the names that it may import from the other rooms.
ROOMS = {
    "client": ("client/src/refundry", {"refundry"}),
    "config": ("config", {"config", "refundry"}),
    "worker": ("worker", {"worker", "config", "refundry"}),
    "tasks": ("tasks", {"tasks", "worker", "config", "refundry"}),
    "gateway": ("gateway", {"gateway", "worker", "config", "refundry"}),
    "simulator": ("simulator", {"simulator"}),
    "examples": ("examples", {"refundry"}),
}
OURS = {"refundry", "config", "worker", "tasks", "simulator", "tests", "gateway", "bench"}
CELERY = {"celery", "kombu", "vine", "billiard"}
#: Who may know Celery: a file, or a folder with all that is in it.
KNOW_CELERY = (
    "client/src/refundry", "config", "tasks", "gateway",
    "worker/app.py", "worker/celery_shim.py", "worker/redis_transport.py", "worker/wake.py",
)  # fmt: skip
#: Who may know SQLAlchemy beside the ledger: these name connections and exceptions.
KNOW_SQLALCHEMY = ("worker/steps", "worker/cli")
NAMED_THERE = {"Connection", "IntegrityError", "DBAPIError", "OperationalError"}
#: Taking a URL to pieces is no SQL; anybody may.
OF_URLS = {"make_url", "ArgumentError"}
#: Modules through which a pure module would reach the world.
IO = {
    "asyncio", "http", "io", "logging", "os", "pathlib", "redis", "requests", "shutil", "socket",
    "sqlalchemy", "sqlite3", "structlog", "subprocess", "sys", "threading", "time", "urllib",
    "urllib3", "celery", "kombu", "psycopg",
}  # fmt: skip
DECISIONS = (
    "__init__",
    "answers",
    "finality",
    "notifications",
    "questions",
    "restored",
    "settlements",
)
STATEMENTS = ("__init__", "doubting", "judging", "money", "reading")
PURE = (
    "worker/refund.py",
    "worker/case_rules.py",
    "worker/schedule.py",
    *(f"worker/decisions/{name}.py" for name in DECISIONS),
    *(f"worker/statements/{name}.py" for name in STATEMENTS),
)
#: The pure modules' own imports from this code base.
PURE_MAY_IMPORT = {
    "refundry",
    "refundry.fields",
    "config.accounts",
    "config.statements",
    "worker.refund",
    *(f"worker.decisions.{name}" for name in DECISIONS),
    *(f"worker.statements.{name}" for name in STATEMENTS),
}
MAX_LINES = 300
#: A migration is never edited again.
MAY_BE_LONG = ("worker/ledger/migrations/versions",)
#: What names of secrets, signatures and tokens are made of.
SECRET = re.compile(
    r"secret|^sign|sign$|signature|digest|token|password|(?<!val)key$", re.IGNORECASE
)
#: Not secret; what the database finds by a digest is compared again.
COMPARED_OPENLY = (
    "config/settings.py: url != settings.broker_url.get_secret_value()",
    "worker/audit.py: request_digest(refund.row['request']) != content.get('request')",
    "worker/ledger/api_tokens.py: api_tokens.c.digest == digest",
    "worker/ledger/api_tokens.py: api_tokens.c.name == name",
    "worker/ledger/statements.py: statements.c.digest == digest",
    "worker/ledger/imports.py: imports.c.digest == digest",
    "worker/providers/guanaitong_answers.py: code == _TOKEN",
    "worker/steps/statements.py: digest.hexdigest() != statement.digest",
)
MONEY = re.compile(r"amount|fen|yuan|reserved|refunded|paid", re.IGNORECASE)


@cache
def files(folder: str) -> list[Path]:
    """Python files of a folder, those that git ignores left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", folder]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        found = [ROOT / line for line in listed.stdout.splitlines()]
    else:  # an archive of the sources
        found = sorted((ROOT / folder).rglob("*"))
    return [path for path in found if path.suffix == ".py" and path.exists()]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_within(path: Path, places: tuple[str, ...]) -> bool:
    name = name_of(path)
    return any(name == place or name.startswith(f"{place}/") for place in places)


@cache
def imports(path: Path) -> list[tuple[str, str]]:
    """Each import of a file as module and name; imports inside functions count."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: a relative import"
            found += [(node.module or "", alias.name) for alias in node.names]
    return found


def tops(path: Path) -> set[str]:
    return {module.partition(".")[0] for module, _ in imports(path)}


def of_rooms(*rooms: str) -> Iterator[Path]:
    for room in rooms or ROOMS:
        yield from files(ROOMS[room][0])


@pytest.mark.parametrize("room", ROOMS)
def test_the_doors_open_one_way_only(room: str) -> None:
    folder, allowed = ROOMS[room]
    paths = files(folder)
    assert paths
    for path in paths:
        assert tops(path) & OURS <= allowed, name_of(path)


def test_nobody_imports_the_tasks() -> None:
    for path in of_rooms():
        if not is_within(path, ("tasks",)):
            assert "tasks" not in tops(path), name_of(path)


def test_a_task_does_not_work_by_itself() -> None:
    for path in files("tasks"):
        ours = {module for module, _ in imports(path) if module.startswith("worker.")}
        assert not {m for m in ours if m.startswith(("worker.ledger", "worker.providers"))}, path


def test_a_route_does_not_work_by_itself() -> None:
    for path in files("gateway/routes"):
        ours = {module for module, _ in imports(path) if module.startswith("worker.")}
        assert not {m for m in ours if m.startswith(("worker.ledger", "worker.providers"))}, path


def test_only_a_few_know_celery() -> None:
    for path in of_rooms():
        if not is_within(path, KNOW_CELERY):
            assert not tops(path) & CELERY, name_of(path)


def test_only_the_ledger_speaks_sql() -> None:
    for path in of_rooms():
        if is_within(path, ("worker/ledger",)):
            continue
        used = {name for module, name in imports(path) if module.split(".")[0] == "sqlalchemy"}
        may = NAMED_THERE if is_within(path, KNOW_SQLALCHEMY) else set()
        assert used <= may | OF_URLS, (name_of(path), used)


def test_a_producer_installs_neither_the_ledger_nor_the_wire() -> None:
    for path in of_rooms("client"):
        assert not tops(path) & {"sqlalchemy", "requests", "alembic", "psycopg"}, name_of(path)


@pytest.mark.parametrize("name", PURE)
def test_decisions_are_pure(name: str) -> None:
    path = ROOT / name
    assert not tops(path) & IO
    ours = {module for module, _ in imports(path) if module.partition(".")[0] in OURS}
    assert ours <= PURE_MAY_IMPORT
    called = {
        node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
    }
    assert not called & {"open", "print", "input", "exec", "eval"}
    attributes = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert not attributes & {"now", "utcnow", "today"}


def test_a_provider_never_sends_locks_or_commits() -> None:
    for path in files("worker/providers"):
        if path.name in ("http.py", "sockets.py"):
            continue
        assert not tops(path) & (IO - {"io"}), name_of(path)
        ours = {module for module, _ in imports(path) if module.startswith("worker.")}
        assert not {m for m in ours if m.startswith(("worker.steps", "worker.ledger"))}, path


def test_a_file_can_be_read_in_one_go() -> None:
    long = {
        name_of(path): lines
        for path in of_rooms()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
        and not is_within(path, MAY_BE_LONG)
    }
    assert long == {}


def names_in(node: ast.AST) -> Iterator[str]:
    """The variables and attributes that an expression is made of."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name | ast.Attribute):
            yield inner.id if isinstance(inner, ast.Name) else inner.attr


def compared(path: Path) -> Iterator[str]:
    """Each ``==`` and ``!=`` of two values one of which is called as secrets are."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            continue
        sides = (node.left, *node.comparators)
        if any(isinstance(side, ast.Constant) for side in sides):
            continue
        if any(SECRET.search(name) for side in sides for name in names_in(side)):
            yield f"{name_of(path)}: {ast.unparse(node)}"


def test_what_is_secret_is_compared_in_constant_time() -> None:
    """``==`` tells by its time how far it got; ``compare_digest`` does not."""
    rooms = of_rooms("client", "config", "worker", "tasks", "gateway")
    assert sorted(one for path in rooms for one in compared(path)) == sorted(COMPARED_OPENLY)


def test_money_is_never_a_float() -> None:
    for path in of_rooms():
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, start=1):
            if "float(" in line:
                near = " ".join(lines[max(0, number - 3) : number + 2])
                assert not MONEY.search(near), f"{name_of(path)}:{number}: {line.strip()}"
