"""The documents name what there is: variables, settings, commands, what a provider may have."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from config.accounts import Account
from config.settings import Settings
from tests.providers.harness import FILES, account
from worker.cli import app
from worker.providers import base
from worker.providers.base import Options

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "reference.md").read_text(encoding="utf-8")
#: What a table is written by, and what the code fills in.
NOT_WRITTEN = {"name", "options", "folder"}


def part(title: str) -> str:
    """What stands below a heading, up to the next."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def listed(title: str) -> list[str]:
    """The names in the first column of the tables below a heading."""
    rows = re.findall(r"^\| (`.+?) \|", part(title), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The command lines that do something, without their arguments."""
    members = getattr(command, "commands", {})
    for name, member in members.items():
        yield from commands(member, (*path, name))
    if not command.hidden and (not members or command.invoke_without_command):
        yield " ".join(path)


def test_every_variable_is_listed_and_there() -> None:
    assert sorted(listed("Environment")) == sorted(
        f"REFUNDRY_{name.upper()}" for name in Settings.model_fields
    )


def test_every_setting_of_an_account_is_listed_and_there() -> None:
    assert sorted(listed("`accounts.toml`")) == sorted(Account.model_fields.keys() - NOT_WRITTEN)


@pytest.mark.parametrize("name", FILES)
def test_every_setting_of_a_provider_is_named(name: str) -> None:
    (options,) = (
        found
        for found in vars(import_module(f"worker.providers.{name}")).values()
        if isinstance(found, type) and issubclass(found, Options) and found is not Options
    )
    paragraphs = part("`accounts.toml`").split("\n\n")
    (own,) = (one for one in paragraphs if one[0] != "|" and f"`{name}`: " in one)
    assert [field for field in options.model_fields if f"`{field}`" not in own] == []


def test_every_provider_that_notifies_is_listed_with_its_answers() -> None:
    row = re.compile(r"^\| `(\w+)` \|.* \| `(.+?)` \| `(.+?)`, status 400 \|$", re.MULTILINE)
    made = {name: base.load_provider(account(name)) for name in FILES}
    assert sorted(row.findall(part("Notifications"))) == sorted(
        # hkrt's is a setting, whose default stands among the settings
        (name, "acknowledgement" if name == "hkrt" else one.taken.body.decode(), no_of(one))
        for name, one in made.items()
        if isinstance(one, base.Notifies)
    )


def no_of(provider: base.Notifies) -> str:
    """What a notification is answered that was not stored."""
    return provider.declined.body.decode()


def test_every_command_is_listed_and_there() -> None:
    there = set(commands(typer.main.get_command(app)))
    words = (re.split(r" [^a-z]| /", line)[0].split() for line in listed("Commands"))
    named = {" ".join(line[:2]) if " ".join(line[:2]) in there else line[0] for line in words}
    assert named == there


def test_whoever_writes_a_provider_is_told_of_everything_it_may_have() -> None:
    text = (DOCS / "new-provider.md").read_text(encoding="utf-8")
    kinds = [kind for kind in vars(base).values() if getattr(kind, "_is_runtime_protocol", False)]
    assert kinds
    needed = [name for name in vars(base.Provider) if not name.startswith("_")]
    needed += base.Provider.__annotations__
    assert [n for n in (*needed, *(k.__name__ for k in kinds)) if f"`{n}" not in text] == []
    assert len(text.splitlines()) < 60, "a page"
