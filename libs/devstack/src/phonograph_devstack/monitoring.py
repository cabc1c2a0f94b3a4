"""Prometheus and, if it is installed, Grafana, which monitor the services of a stack."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from phonograph_devstack.errors import StackError
from phonograph_devstack.services import Process, ServiceHost

PROMETHEUS, GRAFANA = "prometheus", "grafana"
JOB = "phonograph"
"""Prometheus' job name of all our services; the label `service` distinguishes them."""

_PROMETHEUS_PORT, _GRAFANA_PORT = 9090, 3000
_SCRAPE_INTERVAL = timedelta(seconds=5)
_GRAFANA_HOME = Path("/usr/share/grafana")


@dataclass(frozen=True, slots=True)
class Monitoring:
    """The monitoring of one stack.

    Args:
        host: Runs the processes.
        home: Folder of the stack; data are stored in `data/prometheus` and `data/grafana`.
        environment: `PHONOGRAPH_PROMETHEUS` and `PHONOGRAPH_GRAFANA` name programs outside the `PATH`.
        rules: Alert rules to load.
        provisioning: Grafana's data source and dashboards.
        interval: Time between two scrapes, and between two evaluations of the rules.
    """

    host: ServiceHost
    home: Path
    environment: Mapping[str, str]
    rules: Path
    provisioning: Path
    interval: timedelta = _SCRAPE_INTERVAL

    def processes(self, ports: Mapping[str, int]) -> list[Process]:
        """Return the processes to start: Prometheus and, if it is installed, Grafana.

        Args:
            ports: Ports of the services on 127.0.0.1, by service.

        Raises:
            StackError: If Prometheus is not installed.
        """
        prometheus = self._prometheus(ports)
        grafana = _find_program("PHONOGRAPH_GRAFANA", ("grafana", "grafana-server"), self.environment)
        return [prometheus] if grafana is None else [prometheus, self._grafana(grafana, prometheus)]

    def require_prometheus(self) -> str:
        """Return the path of Prometheus.

        Raises:
            StackError: If it is not installed; the message explains how to install it.
        """
        program = _find_program("PHONOGRAPH_PROMETHEUS", ("prometheus",), self.environment)
        if program is None:
            raise StackError(
                "Prometheus is not installed: run `apt-get install prometheus`, "
                "or set PHONOGRAPH_PROMETHEUS=/path/to/prometheus."
            )
        return program

    def _prometheus(self, ports: Mapping[str, int]) -> Process:
        program = self.require_prometheus()
        folder = (self.home / "data" / PROMETHEUS).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        targets, configuration = folder / "targets.json", folder / "prometheus.json"
        # Prometheus rereads this file: services may change their ports while it is running.
        _write_json(
            targets,
            [
                {"targets": [f"127.0.0.1:{port}"], "labels": {"service": service}}
                for service, port in sorted(ports.items())
            ],
        )
        interval = f"{round(self.interval.total_seconds() * 1000)}ms"
        _write_json(
            configuration,
            {
                "global": {
                    "scrape_interval": interval,
                    "scrape_timeout": interval,
                    "evaluation_interval": interval,
                },
                "rule_files": [str(self.rules.resolve())],
                "scrape_configs": [{"job_name": JOB, "file_sd_configs": [{"files": [str(targets)]}]}],
            },
        )
        port = self.host.free_port(PROMETHEUS, _PROMETHEUS_PORT)
        return Process(
            name=PROMETHEUS,
            command=(
                program,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={folder / 'series'}",
                "--storage.tsdb.retention.size=1GB",
                f"--web.listen-address=127.0.0.1:{port}",
            ),
            environment=dict(self.environment),
            health_url=f"http://127.0.0.1:{port}/-/ready",
            port=port,
        )

    def _grafana(self, program: str, prometheus: Process) -> Process:
        folder = (self.home / "data" / GRAFANA).resolve()
        unpacked = Path(program).resolve().parent.parent
        homepath = unpacked if (unpacked / "conf" / "defaults.ini").exists() else _GRAFANA_HOME
        port = self.host.free_port(GRAFANA, _GRAFANA_PORT)
        settings = {
            "GF_SERVER_HTTP_ADDR": "127.0.0.1",
            "GF_SERVER_HTTP_PORT": str(port),
            "GF_PATHS_DATA": str(folder),
            "GF_PATHS_LOGS": str(folder / "logs"),
            "GF_PATHS_PROVISIONING": str(self.provisioning.resolve()),
            "GF_AUTH_ANONYMOUS_ENABLED": "true",
            "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "PHONOGRAPH_PROMETHEUS_URL": f"http://127.0.0.1:{prometheus.port}",
            "PHONOGRAPH_DASHBOARDS": str((self.provisioning.parent / "dashboards").resolve()),
        }
        server = () if Path(program).name == "grafana-server" else ("server",)
        return Process(
            name=GRAFANA,
            command=(program, *server, "--homepath", str(homepath)),
            environment=dict(self.environment) | settings,
            health_url=f"http://127.0.0.1:{port}/api/health",
            port=port,
        )


def _find_program(variable: str, names: tuple[str, ...], environment: Mapping[str, str]) -> str | None:
    """Return the path of a program, or None if it is not installed.

    Raises:
        StackError: If the variable names something that is not a program.
    """
    configured = environment.get(variable)
    if configured:
        found = shutil.which(configured)
        if found is None:
            raise StackError(f"{variable} is {configured!r}, which is not a program. Correct or unset it.")
        return found
    found_on_path = (shutil.which(name, path=environment.get("PATH")) for name in names)
    return next((program for program in found_on_path if program), None)


def _write_json(path: Path, content: object) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(content, indent=2))
    temporary.replace(path)
