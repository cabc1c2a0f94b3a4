"""docker-compose.yml, Dockerfiles, Kubernetes and Prometheus: the same system as `phonograph up` starts."""

import importlib
import json
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
def test_service_gets_settings_that_it_knows(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    given = COMPOSE["services"][service]["environment"]
    for name in [name for name in os.environ if name.startswith(f"{service.role.upper()}_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = importlib.import_module(f"phonograph_{service.role}.config").Settings()
    url = settings.database_url.get_secret_value()
    assert url == f"postgresql+asyncpg://{service.role}:{service.role}@postgres/phonograph"
    assert settings.kafka_bootstrap_servers == "kafka:29092"
    assert settings.object_store_url == "file:///var/lib/phonograph/objects"
    fields = {f"{service.role.upper()}_{field}".upper() for field in type(settings).model_fields}
    assert given.keys() <= fields
    if service is Service.GRAPH_SYNC:
        user, password = COMPOSE["services"]["neo4j"]["environment"]["NEO4J_AUTH"].split("/")
        assert (settings.neo4j_user, settings.neo4j_password.get_secret_value()) == (user, password)


@pytest.mark.parametrize("service", Service)
@pytest.mark.parametrize(("given", "traced"), [("", False), ("http://collector:4318", True)])
async def test_traces_go_where_one_variable_says(
    service: Service, given: str, *, traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{service.role.upper()}_OTLP_ENDPOINT"
    written = COMPOSE["services"][service]["environment"][name]
    assert written == f"${{{OTLP_ENDPOINT}:-}}"
    monkeypatch.setenv(name, given)
    monkeypatch.setenv(f"{service.role.upper()}_DATABASE_URL", "postgresql+asyncpg://x")
    settings = importlib.import_module(f"phonograph_{service.role}.config").Settings()
    tracing = Tracing(service, settings.otlp_endpoint)
    assert tracing.on is traced
    await tracing.aclose()


@pytest.mark.parametrize("service", Service)
def test_service_is_built_waited_for_and_asked_like_the_others(service: Service) -> None:
    definition = COMPOSE["services"][service]
    assert definition["build"]["dockerfile"] == f"services/{service}/Dockerfile"
    assert f":{PORT}{READY}" in definition["healthcheck"]["test"][-1]
    assert {"postgres", "kafka", "topics"} <= definition["depends_on"].keys()
    assert any("read_only" in volume for volume in definition["volumes"] if isinstance(volume, dict))


@pytest.mark.parametrize("service", Service)
def test_image_does_not_migrate_when_it_starts(service: Service) -> None:
    (start,) = re.findall(r"^(?:CMD|ENTRYPOINT) (.*)", dockerfile(service), re.MULTILINE)
    assert json.loads(start) == [f"phonograph-{service}"]
    assert not {"command", "entrypoint"} & COMPOSE["services"][service].keys()


@pytest.mark.parametrize("service", Service)
def test_service_waits_until_a_job_of_the_same_image_has_migrated_its_database(service: Service) -> None:
    definition, job = COMPOSE["services"][service], COMPOSE["services"][f"{service}-migrate"]
    assert definition["depends_on"][f"{service}-migrate"] == {"condition": "service_completed_successfully"}
    assert job["command"] == [f"phonograph-{service}", "migrate"]
    assert (job["build"], job["environment"]) == (definition["build"], definition["environment"])
    assert job["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert "restart" not in job


@pytest.mark.parametrize("service", Service)
def test_kubernetes_has_the_same_migrate_job_for_every_service(service: Service) -> None:
    assert service.value in read_yaml(KUBERNETES / "kustomization.yaml")["resources"]
    kustomization = read_yaml(KUBERNETES / service / "kustomization.yaml")
    (job,) = read_yaml(KUBERNETES / "migrate" / "kustomization.yaml")["resources"]
    pod = read_yaml(KUBERNETES / "migrate" / job)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert kustomization["resources"] == ["../migrate"]
    assert kustomization["images"] == [{"name": container["image"], "newName": f"phonograph-{service}"}]
    (patch,) = kustomization["patches"]
    at = "/spec/template/spec/containers/0"
    assert {change["path"]: change["value"] for change in yaml.safe_load(patch["patch"])} == {
        f"{at}/command/0": f"phonograph-{service}",
        f"{at}/envFrom/0/secretRef/name": f"phonograph-{service}",
    }
    assert container["command"][1:] == ["migrate"]
    assert f"useradd --uid {pod['securityContext']['runAsUser']} " in dockerfile(service)


def test_dockerfiles_are_alike() -> None:
    def shape(service: Service) -> str:
        text = dockerfile(service).replace(service.role.upper(), "NAME").replace(service, "NAME")
        return text.replace("COPY libs/media libs/media\n", "").replace(" libs/media", "")

    assert len({shape(service) for service in Service}) == 1


@pytest.mark.parametrize("service", Service)
def test_image_holds_the_libraries_that_the_service_imports(service: Service) -> None:
    sources = (ROOT / "services" / service / "src").rglob("*.py")
    imported = set(re.findall(r"\bphonograph_(\w+)", "".join(path.read_text() for path in sources)))
    libraries = imported & {path.name for path in (ROOT / "libs").iterdir()} | {"events", "runtime"}
    assert set(re.findall(r"^COPY libs/(\w+)", dockerfile(service), re.MULTILINE)) == libraries


def scraped() -> dict[str, Any]:
    configuration = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    return {scrape["job_name"]: scrape for scrape in configuration["scrape_configs"]}


def test_prometheus_asks_every_service() -> None:
    (discovery,) = scraped()[JOB]["dns_sd_configs"]
    assert sorted(discovery["names"]) == sorted(Service)
    assert discovery["port"] == PORT


@pytest.mark.parametrize("server", ["kafka", "postgres"])
def test_prometheus_asks_an_exporter_beside_each_server(server: str) -> None:
    (static,) = scraped()[server]["static_configs"]
    (target,) = static["targets"]
    exporter = COMPOSE["services"][target.partition(":")[0]]
    assert exporter["depends_on"].keys() == {server}
    assert server in str(exporter.get("command", exporter.get("environment")))


def test_grafana_finds_what_it_is_provisioned_with() -> None:
    """The same files as those that `phonograph up --with monitoring` gives to a Grafana on this machine."""
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


def test_project_gives_services_the_same_names_as_compose(tmp_path: Path) -> None:
    """What is left out of compose has a default there that fits the image."""
    environment = {"PHONOGRAPH_HOME": str(tmp_path), "PHONOGRAPH_STACK": "external"} | {
        f"PHONOGRAPH_{name}": f"x://u@{name}"
        for name in ("POSTGRES_URL", "KAFKA", "NEO4J_URI", "NEO4J_USER", "NEO4J_PASSWORD")
    }
    project = Project(ROOT, environment=environment)
    for service in Service:
        given = project.service_environment(service).keys() - environment.keys()
        left_out = given - COMPOSE["services"][service]["environment"].keys()
        assert left_out == {f"{service.role.upper()}_{name}" for name in ("OBJECT_STORE_URL", "MIGRATIONS")}
