"""Real PostgreSQL, Kafka and Neo4j as local child processes, without Docker."""
