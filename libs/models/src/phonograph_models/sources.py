"""The sources that are asked without being named."""

from phonograph_models.hub import HubSource
from phonograph_models.package_index import PackageIndexSource
from phonograph_models.source_port import ModelSource


def default_sources() -> tuple[ModelSource, ...]:
    """Return the hub and the user's package index, in the order in which they are asked."""
    return (HubSource(), PackageIndexSource())
