"""Starts Neo4j with the settings that the variables `NEO4J_…` name, and sets the password of NEO4J_AUTH."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from neo4j import GraphDatabase
from neo4j.exceptions import DriverError, Neo4jError

CONFIGURATION = Path("/data/conf")
OPTIONS = (
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)

user, password = os.environ["NEO4J_AUTH"].split("/")
settings = {
    name.removeprefix("NEO4J_").replace("__", "\0").replace("_", ".").replace("\0", "_"): value
    for name, value in os.environ.items()
    if name.startswith("NEO4J_") and name != "NEO4J_AUTH"
} | {
    "server.http.enabled": "false",
    "server.https.enabled": "false",
    "server.bolt.listen_address": "0.0.0.0:7687",
    "server.memory.pagecache.size": "64m",
}
CONFIGURATION.mkdir(exist_ok=True)
(CONFIGURATION / "neo4j.conf").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
server = subprocess.Popen(
    [
        *("java", *OPTIONS, "-cp", "/opt/jars/*", "org.neo4j.server.CommunityEntryPoint"),
        *("--home-dir=/data", f"--config-dir={CONFIGURATION}"),
    ]
)
while server.poll() is None and not (CONFIGURATION / "has-password").exists():
    time.sleep(1)
    with (
        contextlib.suppress(DriverError, Neo4jError),
        GraphDatabase.driver("bolt://127.0.0.1:7687", auth=(user, "neo4j")) as driver,
    ):
        change = "ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO $password"
        driver.execute_query(change, password=password, database_="system")
        (CONFIGURATION / "has-password").touch()
sys.exit(server.wait())
