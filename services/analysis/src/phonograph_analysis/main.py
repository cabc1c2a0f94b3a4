"""Wires the analysis service."""

from phonograph_analysis import factory
from phonograph_analysis.config import Settings
from phonograph_analysis.constants import ANALYSIS
from phonograph_analysis.handlers import media
from phonograph_analysis.storage.tables import SqlAnalysisJob
from phonograph_events import MediaReady, Service
from phonograph_runtime import command
from phonograph_runtime.app import ServiceApp


def create_app(settings: Settings | None = None) -> ServiceApp:
    """The service, ready to run."""
    shell = ServiceApp(
        Service.ANALYSIS,
        settings or Settings(),
        job_table=SqlAnalysisJob,
        engines="phonograph_analysis.factory:create_engines",
    )
    shell.on(MediaReady, media.media_ready)
    shell.job(ANALYSIS, factory.analysis_job())
    shell.inventory(factory.inventory)
    return shell


def main() -> None:
    """Run `phonograph-analysis`."""
    command.main(create_app)
