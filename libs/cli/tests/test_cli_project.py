"""The environment of the services of an installation: passwords, addresses, prefixes."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from phonograph_cli.project import Project
from phonograph_events import Service


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return an installation on external servers, none of which is contacted."""
    environment = {
        "PATH": "/bin",
        "PHONOGRAPH_HOME": str(tmp_path / "home"),
        "PHONOGRAPH_STACK": "external",
        "PHONOGRAPH_POSTGRES_URL": "postgresql://admin:secret@db.example:5433/phonograph",
        "PHONOGRAPH_KAFKA": "kafka.example:9092",
        "PHONOGRAPH_NEO4J_URI": "bolt://graph.example:7687",
        "PHONOGRAPH_NEO4J_USER": "neo4j",
        "PHONOGRAPH_NEO4J_PASSWORD": "graph-secret",
        "PHONOGRAPH_OBJECT_STORE": "s3://bucket",
    }
    return Project(tmp_path, environment=environment)


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Create files readable and writable for all users unless a mode is set."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_passwords_are_readable_by_their_owner_only_and_do_not_change(project: Project) -> None:
    urls = {service: project.database_url(service) for service in Service}
    stored = project.home / "passwords.json"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    passwords = json.loads(stored.read_text())
    assert set(passwords) == set(Service)
    assert len(set(passwords.values())) == len(Service)
    again = Project(project.root, environment=project.environment)
    assert {service: again.database_url(service) for service in Service} == urls


def test_new_service_gets_a_password_and_the_others_keep_theirs(project: Project) -> None:
    project.home.mkdir()
    (project.home / "passwords.json").write_text(json.dumps({"ingest": "old"}))
    assert project.database_url(Service.INGEST).startswith("postgresql+asyncpg://ingest:old@")
    assert project.database_url(Service.GRAPH_SYNC).partition("@")[0] != "postgresql+asyncpg://graph_sync:"
    stored = json.loads((project.home / "passwords.json").read_text())
    assert set(stored) == set(Service)


@pytest.mark.parametrize("service", Service)
def test_every_setting_has_the_prefix_of_its_service(project: Project, service: Service) -> None:
    environment = project.service_environment(service)
    prefix = {"graph-sync": "GRAPH_SYNC_"}.get(service, f"{service.upper()}_")
    names = {name.removeprefix(prefix) for name in environment.keys() - project.environment.keys()}
    common = {"DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "OBJECT_STORE_URL", "MIGRATIONS"}
    graph = {"NEO4J_URI", "NEO4J_USER", "NEO4J_PASSWORD"} if service is Service.GRAPH_SYNC else set()
    assert names == common | graph
    assert environment["PATH"] == "/bin"
    assert environment[f"{prefix}DATABASE_URL"].endswith("@db.example:5433/phonograph")
    assert environment[f"{prefix}DATABASE_URL"].startswith(
        f"postgresql+asyncpg://{service.replace('-', '_')}:"
    )
    assert environment[f"{prefix}KAFKA_BOOTSTRAP_SERVERS"] == "kafka.example:9092"
    assert environment[f"{prefix}OBJECT_STORE_URL"] == "s3://bucket"
    assert environment[f"{prefix}MIGRATIONS"] == str(project.root / "migrations")
    assert "admin" not in environment[f"{prefix}DATABASE_URL"], "a service has its own role"


def test_instance_name_survives_a_restart_and_differs_between_installations(
    project: Project, tmp_path: Path
) -> None:
    def instance(of: Project) -> str:
        return of._process(0, Service.ANALYSIS).environment["ANALYSIS_INSTANCE"]

    again = Project(project.root, environment=project.environment)
    other = Project(project.root, environment={**project.environment, "PHONOGRAPH_HOME": str(tmp_path / "b")})
    assert instance(again) == instance(project) != instance(other)


def test_objects_are_stored_with_the_data_unless_a_url_is_set(tmp_path: Path) -> None:
    project = Project(tmp_path, environment={"PHONOGRAPH_HOME": str(tmp_path / "a b")})
    assert project.object_store_url == f"{tmp_path.as_uri()}/a%20b/data/objects"


def test_home_is_in_the_checkout_unless_set(tmp_path: Path) -> None:
    assert Project(tmp_path, environment={}).home == tmp_path / ".phonograph"


def test_server_without_a_user_in_its_address(project: Project) -> None:
    environment = {**project.environment, "PHONOGRAPH_POSTGRES_URL": "postgresql://db.example/p"}
    url = Project(project.root, environment=environment).database_url(Service.INGEST)
    assert url.endswith("@db.example/p")
