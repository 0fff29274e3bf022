"""Settings: read once at the start, wrong ones named, secrets never shown."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from config.celery_options import VISIBILITY_TIMEOUT_S, celery_options
from config.errors import ConfigError
from config.settings import Settings, load_settings
from refundry.names import RABBIT_QUEUE

SECRET = "hunter2-hunter2-hunter2"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("REFUNDRY_", "CELERY_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_everything_has_a_default_below_the_home_folder(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.home == tmp_path / ".refundry"
    assert settings.embeds_broker
    assert settings.database() == f"sqlite:///{tmp_path / '.refundry' / 'ledger.sqlite'}"
    assert settings.accounts == Path("accounts.toml")
    assert settings.flower_port is None


def test_each_variable_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given_values = {
        "HOME": "elsewhere",
        "BROKER_URL": "amqp://a:b@broker/",
        "REDIS_URL": "redis://locks:6379/1",
        "DATABASE_URL": "postgresql://u:p@db/refunds",
        "ACCOUNTS": "etc/accounts.toml",
        "FLOWER_PORT": "5555",
        "FLOWER_AUTH": "ops:secret:with:colons",
    }
    for name, value in given_values.items():
        monkeypatch.setenv(f"REFUNDRY_{name}", value)
    settings = load_settings()
    assert settings.home == tmp_path / "elsewhere"
    assert settings.broker() == "amqp://a:b@broker/"
    assert settings.redis() == "redis://locks:6379/1"
    assert settings.database() == "postgresql+psycopg://u:p@db/refunds"
    assert settings.accounts == Path("etc/accounts.toml")
    assert settings.flower_port == 5555
    assert settings.flower_auth is not None
    assert settings.flower_auth.get_secret_value() == "ops:secret:with:colons"


def test_the_locks_are_in_the_broker_where_that_is_a_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUNDRY_BROKER_URL", "redis://broker:6379/0")
    assert load_settings().redis() == "redis://broker:6379/0"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_through_psycopg_3(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUNDRY_DATABASE_URL", f"{scheme}://u:p@db/refunds")
    assert load_settings().database() == "postgresql+psycopg://u:p@db/refunds"


@pytest.mark.parametrize(
    "url",
    [
        "redis://:p%2Fss%40@host:6379/0?ssl_cert_reqs=required",
        "rediss://:p@ss@[::1]:6379/0",
        "unix://:pass@/run/valkey.sock?db=1",
        "sentinel://:pass@one:26379;sentinel://:pass@two:26379",
        "amqp://u:pass@broker//",
    ],
)
def test_a_brokers_url_is_taken_as_its_kind_writes_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUNDRY_BROKER_URL", url)
    assert load_settings().broker() == url


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_settings().flower_port = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REFUNDRY_FLOWER_PORT", "0"),
        ("REFUNDRY_FLOWER_PORT", "65536"),
        ("REFUNDRY_FLOWER_PORT", "http"),
        ("REFUNDRY_GATEWAY_PORT", "0"),
        ("REFUNDRY_GATEWAY_RATE_LIMIT", "600"),
        ("REFUNDRY_GATEWAY_RATE_LIMIT", "0/minute"),
        ("REFUNDRY_GATEWAY_RATE_LIMIT", "600/minute;20/second"),
        ("REFUNDRY_FLOWER_AUTH", SECRET),
        ("REFUNDRY_FLOWER_AUTH", f":{SECRET}"),
        ("REFUNDRY_FLOWER_AUTH", f"{SECRET}:"),
        ("REFUNDRY_DATABASE_URL", f"postgresql://u:pass@word:{SECRET}/db"),
        ("REFUNDRY_DATABASE_URL", f"postgresql://u:pass@{SECRET}@host/db"),
        ("REFUNDRY_BROKER_URL", f"redis://:{SECRET}/word@host:6379/0"),
        ("REFUNDRY_BROKER_URL", f"redis://:1/{SECRET}@host:6379/0"),
        ("REFUNDRY_BROKER_URL", f"amqp://u:1#{SECRET}@host//"),
        ("REFUNDRY_REDIS_URL", f"redis://:1?{SECRET}@host/0"),
        ("REFUNDRY_REDIS_URL", f"redis://[{SECRET}"),
        ("REFUNDRY_BROKER_URL", f"redis://:{SECRET}/{SECRET}@broker:6379/0"),
        ("REFUNDRY_REDIS_URL", f"redis://:{SECRET}@locks:none/0"),
        ("REFUNDRY_REDIS_URL", f"amqp://u:{SECRET}@broker/"),
        ("REFUNDRY_DATABASE_URL", f"postgresql://u:{SECRET}@db:none/refunds"),
        ("REFUNDRY_DATABASE_URL", "sqlite://"),
        ("REFUNDRY_DATABASE_URL", "sqlite:///:memory:"),
        ("CELERY_BROKER_URL", f"redis://:{SECRET}@other/0"),
        ("CELERY_RESULT_BACKEND", f"redis://:{SECRET}@other/0"),
    ],
)
def test_a_wrong_variable_is_named_and_not_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name) as caught:
        load_settings()
    assert SECRET not in str(caught.value)


def test_what_is_wrong_is_said_without_the_parsers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUNDRY_FLOWER_AUTH", SECRET)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == "REFUNDRY_FLOWER_AUTH: must be user:password in ASCII"


def test_a_broker_of_several_hosts_is_celerys_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "amqp://first:5672;amqp://second:5672"
    monkeypatch.setenv("REFUNDRY_BROKER_URL", url)
    assert load_settings().broker() == url


def test_two_servers_cannot_have_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GATEWAY", "FLOWER"):
        monkeypatch.setenv(f"REFUNDRY_{name}_PORT", "8080")
    with pytest.raises(ConfigError, match="PORT and REFUNDRY_FLOWER_PORT must"):
        load_settings()


def test_a_named_accounts_file_must_be_there_and_the_default_one_need_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert load_settings().accounts_file() == Path("accounts.toml")
    monkeypatch.setenv("REFUNDRY_ACCOUNTS", "etc/accounts.toml")
    with pytest.raises(ConfigError, match=f"REFUNDRY_ACCOUNTS.*{tmp_path}/etc/accounts.toml"):
        load_settings().accounts_file()


def test_celerys_own_variable_may_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REFUNDRY_BROKER_URL", "CELERY_BROKER_URL"):
        monkeypatch.setenv(name, "redis://broker/0")
    assert load_settings().broker() == "redis://broker/0"


def test_a_missing_broker_or_redis_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match=r"refundry up.*REFUNDRY_BROKER_URL"):
        load_settings().broker()
    monkeypatch.setenv("REFUNDRY_BROKER_URL", "amqp://broker/")
    with pytest.raises(ConfigError, match="REFUNDRY_REDIS_URL"):
        load_settings().redis()


def test_settings_show_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROKER_URL", "REDIS_URL", "FLOWER_AUTH"):
        monkeypatch.setenv(f"REFUNDRY_{name}", f"redis://u:{SECRET}@host/0")
    monkeypatch.setenv("REFUNDRY_DATABASE_URL", f"postgresql://u:{SECRET}@host/db")
    shown = load_settings()
    assert isinstance(shown, Settings)
    assert SECRET not in f"{shown!r} {shown} {shown.model_dump()} {shown.model_dump_json()}"


def test_nothing_but_json_is_read_from_the_broker_or_written_to_it() -> None:
    """Reading a pickle runs it."""
    options = celery_options("redis://127.0.0.1/0")
    assert {name: value for name, value in options.items() if name.endswith("accept_content")} == {
        "accept_content": ["json"],
        "result_accept_content": ["json"],
    }
    assert {value for name, value in options.items() if name.endswith("serializer")} == {"json"}


def test_a_message_is_taken_again_only_after_its_worker_must_have_ended() -> None:
    options = celery_options("redis://broker/0")
    assert options["broker_transport_options"]["visibility_timeout"] == VISIBILITY_TIMEOUT_S
    assert options["task_acks_late"]
    assert options["accept_content"] == ["json"]


def test_rabbitmq_keeps_the_services_queues_as_quorum_queues_and_gives_nothing_up() -> None:
    options = celery_options("amqp://user:secret@broker//")
    for queue in options["task_queues"].values():
        assert queue["queue_arguments"] == RABBIT_QUEUE
    assert RABBIT_QUEUE["x-queue-type"] == "quorum"
    assert options["broker_transport_options"]["confirm_publish"]
    on_redis = celery_options("redis://broker/0")["task_queues"].values()
    assert not any("queue_arguments" in queue for queue in on_redis)
