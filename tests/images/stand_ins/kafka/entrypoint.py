"""Starts Kafka with the properties that the variables `KAFKA_…` name, as the image of Apache does."""

import os
import subprocess
from pathlib import Path

PROPERTIES = Path("/tmp/server.properties")
JAVA = ["java", "-Xmx320m", "-XX:+UseSerialGC", "-cp", "/opt/jars/*"]

settings = {
    name.removeprefix("KAFKA_").lower().replace("_", "."): value
    for name, value in os.environ.items()
    if name.startswith("KAFKA_")
}
PROPERTIES.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
if not (Path(settings["log.dirs"]) / "meta.properties").exists():
    cluster = "5L6g3nShT-eMCtK--X86sw"
    subprocess.run([*JAVA, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", PROPERTIES], check=True)
os.execvp(JAVA[0], [*JAVA, "kafka.Kafka", str(PROPERTIES)])
