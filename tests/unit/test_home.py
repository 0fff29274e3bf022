"""The home folder: what cannot be used is named before anything starts in it."""

import os
from pathlib import Path

import pytest

from config.errors import ConfigError
from worker.supervisor.home import Home


@pytest.mark.parametrize("name", ["", "logs", "run", "state", "valkey"])
def test_each_folder_that_is_not_ours_to_write_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / name
    # root, whom these tests may run as, is kept out of nowhere
    monkeypatch.setattr(os, "access", lambda path, _: path != closed)
    with pytest.raises(ConfigError, match=f"REFUNDRY_HOME: {closed} is not writable"):
        Home(root=tmp_path).prepare()
