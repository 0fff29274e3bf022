"""Personal data under seal: for its refund alone, by its keys alone, and known again unopened."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config.errors import ConfigError
from config.personal_keys import read_keys
from config.settings import load_settings
from worker.errors import CannotOpen
from worker.personal import without_values
from worker.seal_keys import Key, new_key
from worker.seals import Seals

OLD, NEW = (base64.urlsafe_b64encode(bytes([byte] * 32)).decode() for byte in (1, 2))
FIELDS = st.dictionaries(
    st.sampled_from(["recipientName", "recipientPhone", "recipientAddress"]),
    st.text(min_size=4).filter(str.strip),
    min_size=1,
)


@given(FIELDS, st.text())
def test_what_is_sealed_is_opened_by_its_key_and_shows_nothing(
    fields: dict[str, str], refund: str
) -> None:
    seals = Seals([NEW, OLD])
    sealed = seals.seal(refund, fields, "former")
    assert seals.open(refund, sealed.key_id, sealed.token) == fields
    assert sealed.names == tuple(sorted(fields))
    assert sealed.token not in repr(sealed)
    for value in fields.values():
        assert value not in sealed.token
        assert json.dumps(value)[1:-1] not in sealed.token


@given(FIELDS)
def test_what_another_key_has_sealed_is_opened_while_that_key_is_there(
    fields: dict[str, str],
) -> None:
    sealed = Seals([OLD]).seal("M/R1", fields)
    rotated = Seals([NEW, OLD])
    assert rotated.open("M/R1", sealed.key_id, sealed.token) == fields
    assert rotated.former == {sealed.key_id}
    assert rotated.seal("M/R1", fields).digests[sealed.key_id] == sealed.digest
    with pytest.raises(CannotOpen, match="put it back"):
        Seals([NEW]).open("M/R1", sealed.key_id, sealed.token)


def test_other_data_has_another_digest_and_nobody_finds_it_without_the_key() -> None:
    seals = Seals([NEW])
    first, second = (seals.seal("M/R1", {"recipientName": name}) for name in ("Li", "Wang"))
    assert first.digest != second.digest
    assert Seals([OLD]).seal("M/R1", {"recipientName": "Li"}).digest != first.digest
    assert seals.seal("M/R2", {"recipientName": "Li"}).digest != first.digest


def test_data_is_not_opened_for_another_refund_nor_when_it_was_changed() -> None:
    seals = Seals([NEW])
    sealed = seals.seal("M/R1", {"recipientName": "Li"})
    with pytest.raises(CannotOpen, match="another refund"):
        seals.open("M/R2", sealed.key_id, sealed.token)
    changed = sealed.token[:-6] + "AAAA" + sealed.token[-2:]
    key = Key(NEW)
    for token in (changed, "", "no token", "\ud800", key.encrypt(b"no JSON"), key.encrypt(b"\xff")):
        with pytest.raises(CannotOpen, match="not what was sealed"):
            seals.open("M/R1", sealed.key_id, token)


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(CannotOpen, match="REFUNDRY_PERSONAL_KEYS is not set"):
        Seals().seal("M/R1", {"recipientName": "Li"})


def test_keys_are_read_from_files_and_variables_the_newest_first(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path_factory.mktemp("keys") / "new.key"
    path.write_text(f"{NEW}\n")
    monkeypatch.setenv("OLD_KEY", OLD)
    monkeypatch.setenv("REFUNDRY_PERSONAL_KEYS", f" file:{path}, env:OLD_KEY,{NEW} ")
    settings = load_settings()
    assert settings.seal_keys() == (SecretStr(NEW), SecretStr(OLD), SecretStr(NEW))
    assert NEW not in f"{settings!r}{settings.model_dump_json()}"
    assert Seals([key.get_secret_value() for key in settings.seal_keys()]).newest is not None
    assert read_keys("") == ()
    made = new_key()
    assert read_keys(made) == (SecretStr(made),)


@pytest.mark.parametrize(
    "listed",
    ["HUNTER2", f"{NEW},HUNTER2", "file:/nowhere/HUNTER2.key", "env:HUNTER2_KEY", NEW[:-4]],
)
def test_what_is_no_key_is_refused_and_not_shown(listed: str) -> None:
    with pytest.raises(ConfigError, match=r"REFUNDRY_PERSONAL_KEYS: key [12]") as caught:
        read_keys(listed)
    assert "HUNTER2" not in str(caught.value) or ":" in listed
    assert NEW[:-4] not in str(caught.value)


def test_of_a_text_that_repeats_values_none_stays() -> None:
    said = without_values("138000 of Li, Lisa and  is wrong", ["Li", "Lisa", "138000", " ", 7])
    assert said == "*** of ***, *** and  is wrong"
