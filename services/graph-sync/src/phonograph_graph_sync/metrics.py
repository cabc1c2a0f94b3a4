"""Metrics of the graph, which Neo4j Community does not export."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from phonograph_runtime.metrics import LATENCY_BUCKETS_S

ROW_KINDS: Final = ("nodes", "parts", "edges")
LOST_CONNECTION: Final = "commit"
"""Code for a transaction that was tried again although Neo4j reported no error."""
RETRY_CODES: Final = (LOST_CONNECTION, "Neo.TransientError.Transaction.DeadlockDetected")

ROWS = Counter("graph_sync_rows_total", "Rows sent to Neo4j: nodes, parts or edges", ["kind"])
TX_SECONDS = Histogram(
    "graph_tx_seconds", "One batch, one transaction, retries included", buckets=LATENCY_BUCKETS_S
)
TX_RETRIES = Counter(
    "graph_tx_retries_total",
    "Transactions tried again: Neo4j's code, or commit for a lost connection",
    ["code"],
)
LAG_SECONDS = Gauge(
    "graph_sync_lag_seconds",
    "Age of the oldest event that was seen and is not in the graph; 0 when there is none",
)
STUB_NODES = Gauge("graph_stub_nodes", "Nodes that others point to and whose own event has not come yet")

for _kind in ROW_KINDS:
    ROWS.labels(_kind)
for _code in RETRY_CODES:
    TX_RETRIES.labels(_code)
