"""docker-compose.yml, Dockerfiles and Prometheus describe the system that `phonograph up` starts."""

import importlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from phonograph_cli.project import OTLP_ENDPOINT, READY, Project
from phonograph_devstack.monitoring import JOB
from phonograph_events import Service
from phonograph_runtime.tracing import Tracing

ROOT = Path(__file__).parents[3]
COMPOSE: Any = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
PROMETHEUS = ROOT / "deploy" / "prometheus"
KUBERNETES = ROOT / "deploy" / "kubernetes"
PORT = 8800


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def dockerfile(service: Service) -> str:
    return (ROOT / "services" / service / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("service", Service)
def test_service_gets_only_settings_that_it_has(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = COMPOSE["services"][service]["environment"]
    for name in [name for name in os.environ if name.startswith(f"{service.role.upper()}_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = importlib.import_module(f"phonograph_{service.role}.config").Settings()
    url = settings.database_url.get_secret_value()
    assert url == f"postgresql+asyncpg://{service.role}:{service.role}@postgres/phonograph"
    assert settings.kafka_bootstrap_servers == "kafka:29092"
    assert settings.object_store_url == "file:///var/lib/phonograph/objects"
    fields = {f"{service.role.upper()}_{field}".upper() for field in type(settings).model_fields}
    assert environment.keys() <= fields
    if service is Service.GRAPH_SYNC:
        user, password = COMPOSE["services"]["neo4j"]["environment"]["NEO4J_AUTH"].split("/")
        assert (settings.neo4j_user, settings.neo4j_password.get_secret_value()) == (user, password)


@pytest.mark.parametrize("service", Service)
@pytest.mark.parametrize(("endpoint", "is_traced"), [("", False), ("http://collector:4318", True)])
async def test_one_variable_sets_where_traces_are_sent(
    service: Service, endpoint: str, *, is_traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{service.role.upper()}_OTLP_ENDPOINT"
    composed = COMPOSE["services"][service]["environment"][name]
    assert composed == f"${{{OTLP_ENDPOINT}:-}}"
    monkeypatch.setenv(name, endpoint)
    monkeypatch.setenv(f"{service.role.upper()}_DATABASE_URL", "postgresql+asyncpg://x")
    settings = importlib.import_module(f"phonograph_{service.role}.config").Settings()
    tracing = Tracing(service, settings.otlp_endpoint)
    assert tracing.on is is_traced
    await tracing.aclose()


@pytest.mark.parametrize("service", Service)
def test_service_is_built_checked_and_ordered_like_the_others(service: Service) -> None:
    definition = COMPOSE["services"][service]
    assert definition["build"]["dockerfile"] == f"services/{service}/Dockerfile"
    assert (
        definition["image"] == COMPOSE["services"][f"{service}-migrate"]["image"] == f"phonograph-{service}"
    )
    assert {"postgres", "kafka", "topics"} <= definition["depends_on"].keys()
    assert any("read_only" in volume for volume in definition["volumes"] if isinstance(volume, dict))


@pytest.mark.parametrize("service", Service)
def test_image_runs_as_an_ordinary_user_and_checks_its_readiness(service: Service) -> None:
    text = dockerfile(service)
    port = f"{service.role.upper()}_HTTP_PORT"
    assert f"{port}={PORT}" in text
    assert f"environ['{port}'] + '{READY}'" in text.partition("HEALTHCHECK")[2]
    assert "USER 10001:10001" in text.partition("FROM python:3.11-slim\n")[2]


def test_cli_gets_only_settings_that_it_or_a_service_has() -> None:
    composed = COMPOSE["services"]["cli"]["environment"]
    own = {name for name in composed if name.startswith("PHONOGRAPH_")}
    assert composed.keys() - own == {
        name for service in Service for name in COMPOSE["services"][service]["environment"]
    }
    image = dict(
        re.findall(r"(PHONOGRAPH_\w+)=(\S+)", (ROOT / "libs" / "cli" / "Dockerfile").read_text("utf-8"))
    )
    project = Project(ROOT, environment=image | composed)
    assert project.object_store_url == "file:///var/lib/phonograph/objects"
    assert project.stack.addresses().kafka_bootstrap_servers == "kafka:29092"
    assert project.stack.addresses().neo4j_uri == "bolt://neo4j:7687"
    for service in Service:
        url = f"postgresql+asyncpg://{service.role}:{service.role}@postgres/phonograph"
        assert project.database_url(service) == url


def test_dockerfiles_differ_only_in_names_and_libraries() -> None:
    def shape(service: Service) -> str:
        text = dockerfile(service).replace(service.role.upper(), "NAME").replace(service, "NAME")
        for library in ("media", "models"):
            copied = f"COPY libs/{library} libs/{library}\n"
            text = text.replace(copied, "").replace(f" libs/{library}", "")
        return text

    assert len({shape(service) for service in Service}) == 1


@pytest.mark.parametrize("service", Service)
def test_image_contains_the_libraries_that_the_service_imports(service: Service) -> None:
    sources = (ROOT / "services" / service / "src").rglob("*.py")
    imported = set(re.findall(r"\bphonograph_(\w+)", "".join(path.read_text() for path in sources)))
    libraries = imported & {path.name for path in (ROOT / "libs").iterdir()} | {"events", "runtime"}
    assert set(re.findall(r"^COPY libs/(\w+)", dockerfile(service), re.MULTILINE)) == libraries


def scrape_configs() -> dict[str, Any]:
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    return {scrape["job_name"]: scrape for scrape in configuration["scrape_configs"]}


def test_prometheus_scrapes_every_service() -> None:
    (discovery,) = scrape_configs()[JOB]["dns_sd_configs"]
    assert sorted(discovery["names"]) == sorted(Service)
    assert discovery["port"] == PORT


@pytest.mark.parametrize("server", ["kafka", "postgres"])
def test_prometheus_scrapes_an_exporter_of_each_server(server: str) -> None:
    (static,) = scrape_configs()[server]["static_configs"]
    (target,) = static["targets"]
    exporter = COMPOSE["services"][target.partition(":")[0]]
    assert exporter["depends_on"].keys() == {server}
    assert server in str(exporter.get("command", exporter.get("environment")))


def test_grafana_is_provisioned_from_mounted_files() -> None:
    """They are the files that `phonograph up --with monitoring` provisions a local Grafana with."""
    definition = COMPOSE["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in definition["volumes"])
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    assert (ROOT / "deploy/grafana/dashboards/overview.json").exists()
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    assert mounts["./deploy/grafana/dashboards"] == definition["environment"]["PHONOGRAPH_DASHBOARDS"]
    files = [path.read_text() for path in provisioning.rglob("*.yml")]
    named = set(re.findall(r"\$(\w+)", "".join(files)))
    assert named == {"PHONOGRAPH_PROMETHEUS_URL", "PHONOGRAPH_DASHBOARDS"} <= definition["environment"].keys()
    assert "prometheus" in COMPOSE["services"]


def test_project_sets_the_same_variables_as_compose(tmp_path: Path) -> None:
    """Variables that compose omits have a default that fits the image."""
    environment = {"PHONOGRAPH_HOME": str(tmp_path), "PHONOGRAPH_STACK": "external"} | {
        f"PHONOGRAPH_{name}": f"x://u@{name}"
        for name in ("POSTGRES_URL", "KAFKA", "NEO4J_URI", "NEO4J_USER", "NEO4J_PASSWORD")
    }
    project = Project(ROOT, environment=environment)
    for service in Service:
        variables = project.service_environment(service).keys() - environment.keys()
        omitted = variables - COMPOSE["services"][service]["environment"].keys()
        assert omitted == {f"{service.role.upper()}_{name}" for name in ("OBJECT_STORE_URL", "MIGRATIONS")}
