"""The Neo4j side."""
