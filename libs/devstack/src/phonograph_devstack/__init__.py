"""Real PostgreSQL, Kafka and Neo4j as local child processes, without Docker."""

from phonograph_devstack.containers import ContainerStack
from phonograph_devstack.errors import StackError
from phonograph_devstack.external import ExternalStack
from phonograph_devstack.local import LocalStack
from phonograph_devstack.monitoring import Monitoring
from phonograph_devstack.selection import select_stack
from phonograph_devstack.services import Addresses, Process, ServiceHost
from phonograph_devstack.supervisor import ProcessStatus

__all__ = [
    "Addresses",
    "ContainerStack",
    "ExternalStack",
    "LocalStack",
    "Monitoring",
    "Process",
    "ProcessStatus",
    "ServiceHost",
    "StackError",
    "select_stack",
]
