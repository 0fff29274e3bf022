"""What a worker has no use for takes none of its memory."""

import subprocess
import sys

from worker.seal_keys import new_key

#: Starts as a worker does, as far as its command line's help; prints what it has loaded then.
PROGRAM = """
import sys
from tasks.__main__ import main
sys.argv = ["tasks", "worker", "--help"]
try:
    main()
except SystemExit:
    from worker.app import app
    app.loader.import_default_modules()
    from worker.seals import Seals
    Seals(sys.stdin.read().split())
    names = {"rich", "flower", "sqlalchemy.orm", "cryptography.fernet"}
    print("loaded:", sorted(name for name in names if sys.modules.get(name)))
"""


def loaded(*keys: str) -> str:
    """The last line of the program, with these keys of personal data."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"REFUNDRY_BROKER_URL": "redis://127.0.0.1:1/0"},
        input=" ".join(keys),
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.splitlines()[-1]


def test_a_worker_loads_nothing_that_it_has_no_use_for() -> None:
    assert loaded() == "loaded: []"
    assert loaded(new_key()) == "loaded: ['cryptography.fernet']"
