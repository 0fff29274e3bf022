"""``python -m simulator --port 0 --home DIR --merchants FILE.json [--seed 7]``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from functools import partial
from pathlib import Path

from simulator.app import serve
from simulator.book import Book
from simulator.lines import HomeInUseError
from simulator.log import Log
from simulator.merchants import MerchantsError, read_providers
from simulator.world import World


def main() -> int:
    """Runs until a signal: 0. What cannot start says why in one line: 2."""
    options = _parser().parse_args()
    try:
        world = _open_world(options)
        asyncio.run(serve(world, options.port, partial(print, flush=True)))
    except (MerchantsError, HomeInUseError, OSError, OverflowError, ValueError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    return 0


def _open_world(options: argparse.Namespace) -> World:
    providers = read_providers(options.merchants)
    home: Path = options.home
    home.mkdir(parents=True, exist_ok=True)
    book, log = Book(home / "book.jsonl"), Log(home / "log.jsonl")
    return World(seed=options.seed, book=book, log=log, providers=providers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulator", description="Plays payment providers.")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0 finds a free one")
    parser.add_argument("--home", type=Path, required=True, help="folder of the book and the log")
    parser.add_argument("--merchants", type=Path, required=True, help="JSON file of secrets")
    parser.add_argument("--seed", type=int, default=7, help="of every draw")
    return parser


if __name__ == "__main__":
    sys.exit(main())
