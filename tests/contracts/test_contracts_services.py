"""The common structure of all services: modules, folders, handlers of their topics, README and imports."""

import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from tests.support.stack import ROOT

from phonograph_events import EVENTS, TOPICS, Service
from phonograph_runtime.app import ServiceApp

SERVICES = sorted(Service)
SHAPE = {"commands", "__init__", "main", "config", "constants", "exceptions", "metrics", "factory"}
FOLDERS = {"handlers", "services", "domain", "storage", "inference", "graph"}
HEAVY = (
    "alembic",
    "essentia", "faster_whisper", "pocketsphinx", "torch", "sklearn", "onnxruntime", "ctranslate2",
    "pandas", "pyarrow", "alembic",
)  # fmt: skip
VAGUE_NAMES = re.compile(r"(^|/)(utils?|common|helpers?|misc|base_[a-z]+)(\.py|/)")


def package(service: Service) -> Path:
    return ROOT / "services" / service.value / "src" / f"phonograph_{service.role}"


def create_app(service: Service, tmp_path: Path) -> ServiceApp:
    """Return the service, wired but not started, so that it needs no server."""
    main = importlib.import_module(f"phonograph_{service.role}.main")
    config = importlib.import_module(f"phonograph_{service.role}.config")
    settings = config.Settings(
        database_url="postgresql+asyncpg://none:none@127.0.0.1:1/none",
        object_store_url=tmp_path.as_uri(),
        migrations=ROOT / "migrations",
    )
    created: ServiceApp = main.create_app(settings)
    return created


def test_every_service_is_installed_under_its_name() -> None:
    assert sorted(entry.name for entry in entry_points(group="phonograph.services")) == SERVICES


@pytest.mark.parametrize("service", SERVICES)
def test_service_has_the_shape_of_all_services(service: Service) -> None:
    modules = {path.stem for path in package(service).glob("*.py")}
    folders = {path.parent.name for path in package(service).glob("*/__init__.py")}
    assert {"main", "config", "factory"} <= modules <= SHAPE
    assert {"services", "domain", "storage"} <= folders <= FOLDERS


@pytest.mark.parametrize("service", [service for service in SERVICES if service is not Service.GRAPH_SYNC])
async def test_service_handles_every_topic_of_which_it_is_a_consumer(
    service: Service, tmp_path: Path
) -> None:
    created = create_app(service, tmp_path)
    handled = {event.TOPIC for event in created.handled}
    assert handled == set(created.topics)
    await created.database.aclose()


@pytest.mark.parametrize("service", SERVICES)
def test_readme_of_a_service_is_short_and_names_its_topics(service: Service) -> None:
    text = (ROOT / "services" / service.value / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120
    for topic in TOPICS.values():
        is_common = topic.name.startswith(("job-", "inventory-"))
        if service.value in topic.producers and not is_common:
            assert f"`{topic.name}`" in text, f"{topic.name} is not named"


@pytest.mark.parametrize("service", SERVICES)
def test_service_imports_without_its_models(service: Service) -> None:
    """Engines are loaded in the child process, so that the service stays small and starts fast."""
    code = f"import sys, phonograph_{service.role}.main; print(*set({HEAVY}) & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == []


def test_events_and_topics_are_one_to_one() -> None:
    assert len(EVENTS) == len(TOPICS)


def test_no_file_has_a_vague_name() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert not [name for name in files.splitlines() if VAGUE_NAMES.search(name)]


def test_only_analysis_depends_on_essentia() -> None:
    for path in ROOT.glob("*/*/pyproject.toml"):
        depends = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]
        assert any("essentia" in each for each in depends) == (path.parent.name == "analysis"), path
