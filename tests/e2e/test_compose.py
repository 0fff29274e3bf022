"""``docker-compose.yml``: read, and run without containers, each service by its own command."""

import re
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.compose import FILE, ROOT, SERVICES, Native, seconds
from tests.e2e.service import PATIENCE_S
from worker.supervisor.programs import worker_grace_s

OURS = ("migrate", "worker", "beat", "gateway", "flower")
LASTING = sorted(SERVICES.keys() - {"migrate"})


def test_the_services_are_those_that_production_needs() -> None:
    assert set(SERVICES) == {"valkey", "postgres", *OURS}


@pytest.mark.parametrize("name", LASTING)
def test_a_lasting_service_has_a_health_check_and_a_grace_period(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert seconds(check["timeout"]) > 0
    assert seconds(SERVICES[name]["stop_grace_period"]) >= 10
    assert SERVICES[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_not_root_and_cannot_write_its_image(name: str) -> None:
    service = SERVICES[name]
    assert int(service["user"].partition(":")[0]) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_a_worker_gets_longer_to_stop_than_its_longest_call() -> None:
    assert seconds(SERVICES["worker"]["stop_grace_period"]) > worker_grace_s([])


def test_ports_are_published_on_loopback_alone() -> None:
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert {name for name, ports in published.items() if ports} == {"gateway", "flower"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_secrets_are_files_and_never_variables() -> None:
    for service in SERVICES.values():
        assert set(service.get("secrets", [])) <= FILE["secrets"].keys()
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in name or name.endswith("_FILE"), name
            assert not re.search(r"://[^/]*:[^/@]*@", value), value
    assert all(set(secret) == {"file"} for secret in FILE["secrets"].values())
    assert ".env" in (ROOT / ".gitignore").read_text().split()
    assert "secrets/" in (ROOT / ".gitignore").read_text().split()


def test_valkey_keeps_what_it_was_told() -> None:
    command = SERVICES["valkey"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert SERVICES["valkey"]["volumes"] == [f"valkey:{options['--dir']}"]


def test_workers_wait_for_broker_and_migration() -> None:
    needs: dict[str, Any] = {
        "valkey": {"condition": "service_healthy"},
        "migrate": {"condition": "service_completed_successfully"},
    }
    assert all(SERVICES[name]["depends_on"] == needs for name in set(OURS) - {"migrate"})
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_every_variable_of_the_file_is_explained_in_the_example() -> None:
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    example = (ROOT / ".env.example").read_text()
    assert used == set(re.findall(r"^(\w+)=", example, re.MULTILINE))
    assert all(f"secrets/{name}" in example for name in FILE["secrets"])


def test_the_image_is_built_of_client_and_service_and_is_not_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "./client ." in text
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE)[-1] == SERVICES["worker"]["user"]


def test_every_service_gets_healthy_by_its_own_command_and_stops_in_time(
    tmp_path: Path, postgres: str
) -> None:
    with Native(tmp_path, postgres) as native:
        native.start("valkey")
        native.get_healthy("valkey", "postgres")
        assert native.start("migrate").wait(PATIENCE_S) == 0, native.log("migrate")
        started = set(OURS) - {"migrate"}
        for name in started:
            native.start(name)
        native.get_healthy(*started)
        api = f"http://127.0.0.1:{native.flower_port}/api/workers"
        assert requests.get(api, timeout=PATIENCE_S).status_code == 401
        assert requests.get(api, auth=("ops", "secret"), timeout=PATIENCE_S).status_code == 200
        gateway = f"http://127.0.0.1:{native.gateway_port}/refunds/shop-hkrt/R1"
        assert requests.get(gateway, timeout=PATIENCE_S).status_code == 401
        for name in ("gateway", "worker", "beat", "flower", "valkey"):
            assert native.stop(name) == 0, native.log(name)
