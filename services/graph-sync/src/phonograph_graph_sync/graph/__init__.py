"""The graph in Neo4j."""

from phonograph_runtime.imports import import_alone

import_alone("neo4j", without=("numpy", "pandas", "pyarrow"))
