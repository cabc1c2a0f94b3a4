"""A Docker engine of its own, for a machine that has a package mirror but no registry of images.

It needs root and Debian's packages. Nothing is installed: packages are unpacked into a folder, which is
removed at the end. The base image `python:3.11-slim` is a stand-in from Debian's packages; no user gets it.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FOLDER = "PHONOGRAPH_IMAGES_FOLDER"
"""Environment variable: a folder in which packages and images are kept for the next run."""
SUITE = "bookworm"
"""Debian release with Python 3.11."""
COMPOSE_SUITE = "trixie"
"""Debian release with version 2 of Docker Compose."""
PACKAGES = ("docker.io", "debootstrap", "iptables")
BASE_IMAGE = "python:3.11-slim"
BASE_PACKAGES = "python3,python3-pip,python3-venv,python-is-python3,ca-certificates"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
START_TIMEOUT_S = 60
STEP_TIMEOUT_S = 600


class NoDockerError(Exception):
    """Docker cannot be had on this machine; the message says why."""


@dataclass(frozen=True)
class Docker:
    """The command `docker` of a running engine."""

    folder: Path

    def __call__(
        self, *arguments: str, timeout_s: float = STEP_TIMEOUT_S, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker` with arguments.

        Args:
            *arguments: Arguments.
            timeout_s: Longest run.
            check: Whether a failure is an error of the test.
            **variables: Further environment variables.
        """
        run = subprocess.run(
            ["docker", *arguments],
            env=_environment(self.folder) | variables,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert not check or run.returncode == 0, (
            f"docker {arguments}: {run.stdout[-2000:]}{run.stderr[-3000:]}"
        )
        return run

    def build(self, context: Path, dockerfile: Path, image: str) -> None:
        """Build an image."""
        self("build", "--network", "host", "-f", str(dockerfile), "-t", image, str(context))

    def inspect(self, name: str, template: str) -> str:
        """Return a value of an image or a container, as a template of Go selects it."""
        return self("inspect", "--format", template, name).stdout.strip()


@contextmanager
def docker_engine() -> Iterator[Docker]:
    """Start an engine with the base image; stop it, with its containers, and remove all that it stored.

    Raises:
        NoDockerError: If it cannot be had here.
    """
    if os.geteuid() != 0:
        raise NoDockerError("an engine of its own needs root")
    if shutil.which("apt-get") is None or not KEYRING.exists():
        raise NoDockerError("Docker is unpacked from Debian's packages, and this is no Debian")
    kept = os.environ.get(FOLDER)
    folder = Path(kept or tempfile.mkdtemp(prefix="phonograph-images-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _unpack_tools(folder)
        with _running_engine(folder) as docker:
            if docker("image", "inspect", BASE_IMAGE, check=False).returncode != 0:
                _import_base_image(docker)
            yield docker
    finally:
        if not kept:
            shutil.rmtree(folder)


def _environment(folder: Path) -> dict[str, str]:
    """Return the environment in which the unpacked programs find each other."""
    tools = folder / "tools"
    paths = [str(tools / part) for part in ("links", "usr/sbin", "usr/bin")]
    return dict(os.environ) | {
        "PATH": ":".join([*paths, os.environ["PATH"]]),
        "LD_LIBRARY_PATH": str(tools / "usr/lib/x86_64-linux-gnu"),
        "DEBOOTSTRAP_DIR": str(tools / "usr/share/debootstrap"),
        "DOCKER_HOST": f"unix://{folder / 'docker.sock'}",
        "DOCKER_CONFIG": str(folder / "config"),
        "DOCKER_BUILDKIT": "0",
    }


def _run(folder: Path, command: Sequence[str], *, task: str, cwd: Path | None = None) -> None:
    try:
        run = subprocess.run(
            command,
            cwd=cwd,
            env=_environment(folder),
            capture_output=True,
            text=True,
            timeout=STEP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoDockerError(f"{task} failed: {error}") from error
    if run.returncode != 0:
        lines = (run.stderr or run.stdout).strip().splitlines() or [f"exit code {run.returncode}"]
        raise NoDockerError(f"{task} failed: {lines[-1]}")


def mirror() -> str:
    """Return the address of the package mirror that this machine uses.

    Raises:
        NoDockerError: If its sources name none.
    """
    apt = Path("/etc/apt")
    sources = [apt / "sources.list", *(apt / "sources.list.d").glob("*")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources if path.is_file())
    found = re.search(r"^(?:URIs:|deb(?: \[[^\]]*\])?) +(\S+/debian/?)(?: |$)", text, re.MULTILINE)
    if found is None:
        raise NoDockerError("the sources of apt name no mirror of Debian")
    return found[1]


def _unpack_tools(folder: Path) -> None:
    """Download and unpack Docker, debootstrap and Docker Compose, without installing anything."""
    tools, plugins = folder / "tools", folder / "config" / "cli-plugins"
    if (plugins / "docker-compose").exists():
        return
    # What is installed here is not downloaded: the unpacked programs use it.
    _download(
        folder, SUITE, ["install", "-y", "--no-install-recommends", "--download-only", *PACKAGES], tools
    )
    _download(folder, COMPOSE_SUITE, ["download", "docker-compose"], folder / "compose")
    links = tools / "links"
    links.mkdir(parents=True)
    if (tools / "usr/sbin/iptables-nft").exists():  # a link that only an installation makes
        (links / "iptables").symlink_to(tools / "usr/sbin/iptables-nft")
    plugins.mkdir(parents=True)
    shutil.copy(folder / "compose/usr/libexec/docker/cli-plugins/docker-compose", plugins)
    shutil.rmtree(folder / "apt")
    shutil.rmtree(folder / "compose")


def _download(folder: Path, suite: str, action: Sequence[str], target: Path) -> None:
    """Download packages of a release with package lists of their own, and unpack them into a folder."""
    apt = folder / "apt" / suite
    for part in ("sources", "lists/partial", "archives/partial"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    sources = f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n"
    (apt / "sources" / "debian.list").write_text(sources, encoding="ascii")
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": apt / "sources",
        "Dir::State::lists": apt / "lists",
        "Dir::Cache::archives": apt / "archives",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
    }
    command = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]
    _run(folder, [*command, "update"], task=f"reading the package lists of {suite}")
    _run(folder, [*command, *action], task="downloading Docker", cwd=apt / "archives")
    for package in (apt / "archives").glob("*.deb"):
        _run(folder, ["dpkg-deb", "-x", str(package), str(target)], task=f"unpacking {package.name}")


@contextmanager
def _running_engine(folder: Path) -> Iterator[Docker]:
    docker = Docker(folder)
    command = [
        "dockerd",
        f"--host=unix://{folder / 'docker.sock'}",
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'docker.pid'}",
        "--iptables=false",  # the rules of this machine stay as they are
        "--ip6tables=false",
        "--bridge=none",
    ]
    with (folder / "dockerd.log").open("wb") as log:
        try:
            engine = subprocess.Popen(
                command, env=_environment(folder), stdout=log, stderr=log, start_new_session=True
            )
        except OSError as error:
            raise NoDockerError(f"dockerd cannot be started: {error}") from error
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while docker("version", check=False).returncode != 0:
            if engine.poll() is not None or time.monotonic() > deadline:
                last = (folder / "dockerd.log").read_text().strip().splitlines()[-1:]
                raise NoDockerError(f"dockerd does not run here: {''.join(last)}")
            time.sleep(0.2)
        yield docker
    finally:
        if engine.poll() is None:
            containers = docker("ps", "-aq", check=False).stdout.split()
            if containers:
                docker("rm", "-f", "-v", *containers, check=False)
            engine.send_signal(signal.SIGTERM)
            engine.wait(timeout=60)
        namespace = folder / "exec" / "netns" / "default"
        if namespace.exists():  # the engine leaves it mounted, and a mounted file cannot be removed
            subprocess.run(["umount", str(namespace)], check=False)


def _import_base_image(docker: Docker) -> None:
    """Make a base image from Debian's packages, with what this machine needs to reach its package index."""
    root = docker.folder / "rootfs"
    command = ["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", SUITE, str(root), mirror()]
    try:
        _run(docker.folder, command, task="debootstrap")
        for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        shutil.copy(CERTIFICATES, root / "etc/ssl/certs")
        if Path("/etc/pip.conf").exists():
            shutil.copy("/etc/pip.conf", root / "etc")
        variable = f"ENV PIP_CERT={CERTIFICATES}"
        with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as archive:
            imported = subprocess.run(
                ["docker", "import", "--change", variable, "-", BASE_IMAGE],
                env=_environment(docker.folder),
                stdin=archive.stdout,
                capture_output=True,
                text=True,
                timeout=STEP_TIMEOUT_S,
                check=False,
            )
        if imported.returncode != 0:
            raise NoDockerError(f"the base image cannot be imported: {imported.stderr.strip()}")
    finally:
        shutil.rmtree(root, ignore_errors=True)
