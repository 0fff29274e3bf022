"""``python -m bench.tick N``: one process asks about N due refunds, and says how long it took."""

import json
import sys
import time
from typing import Final

from sqlalchemy import Connection, create_engine, text

from bench.installation import ACCOUNT
from config.settings import load_settings
from worker.runtime import get_runtime
from worker.steps.poll import poll

#: Asked about before: connections are made, code is loaded.
WARM: Final = 32


def make_due(connection: Connection, wanted: int) -> None:
    """Have so many of the open refunds asked about now, from all over the table."""
    connection.execute(
        text(
            "UPDATE refunds SET due_at = clock_timestamp() WHERE id IN (SELECT id FROM"
            " (SELECT id, row_number() OVER (ORDER BY id) AS place, count(*) OVER () AS open"
            "  FROM refunds WHERE state = 'pending') numbered"
            " WHERE place % (open / :wanted) = 0 LIMIT :wanted)"
        ),
        {"wanted": wanted},
    )


def main() -> None:
    """Warm up, then ask about all at once."""
    runtime = get_runtime()
    engine = create_engine(load_settings().database())
    for wanted in (WARM, int(sys.argv[1])):
        with engine.begin() as connection:
            make_due(connection, wanted)
        began = time.perf_counter()
        polled = poll(runtime, [ACCOUNT], wanted)
        seconds = time.perf_counter() - began
        if polled.asked != wanted:
            raise SystemExit(f"{polled.asked} of {wanted} due refunds were asked about")
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
