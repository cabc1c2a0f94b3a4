"""What Neo4j Community does not tell of itself."""

from prometheus_client import Counter, Gauge, Histogram

ROWS = Counter("graph_sync_rows_total", "Rows sent to Neo4j", ["kind"])
TX_SECONDS = Histogram("graph_tx_seconds", "One batch, one transaction, retries included")
TX_RETRIES = Counter("graph_tx_retries_total", "Transactions tried again", ["code"])
LAG_SECONDS = Gauge("graph_sync_lag_seconds", "From the newest event seen to the newest in the graph")
STUB_NODES = Gauge("graph_stub_nodes", "Nodes that others point to and whose own event has not come yet")
