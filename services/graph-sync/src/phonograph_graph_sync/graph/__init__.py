"""The Neo4j side."""

from phonograph_runtime.imports import import_alone

import_alone("neo4j", without=("numpy", "pandas", "pyarrow"))
