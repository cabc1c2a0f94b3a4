"""The metrics of the runtime, recorded here so that all services have the same ones.

Labels are few, and their values are known in advance. `docs/metrics.md` is generated from these definitions.
"""

from prometheus_client import Counter, Gauge, Histogram

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)
WORK_BUCKETS_S = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400)

EVENTS_CONSUMED = Counter(
    "events_consumed_total", "Records consumed: ok, duplicate, retry, parked or foreign", ["topic", "result"]
)
EVENT_LATENCY_SECONDS = Histogram(
    "event_e2e_latency_seconds",
    "From the event's own time to its effect",
    ["topic"],
    buckets=LATENCY_BUCKETS_S,
)
EVENT_PROCESSING_SECONDS = Histogram(
    "event_processing_seconds",
    "One batch of records, one transaction",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60),
)
INBOX_DUPLICATES = Counter("inbox_duplicates_total", "Redelivered events that had already taken effect")

CONSUMER_LAG = Gauge("consumer_lag", "Records waiting", ["topic", "partition"])
CONSUMER_LAST_PROGRESS = Gauge(
    "consumer_last_progress_timestamp_seconds",
    "When the consumer last processed a batch or had nothing to process",
)
CONSUMER_ASSIGNED_PARTITIONS = Gauge("consumer_assigned_partitions", "Partitions of this process")
CONSUMER_REBALANCES = Counter("consumer_rebalances_total", "Rebalances of the consumer group")
CONSUMER_COMMIT_FAILURES = Counter("consumer_commit_failures_total", "Offsets that could not be committed")
CONSUMER_KAFKA_ERRORS = Counter("consumer_kafka_errors_total", "Errors reported by Kafka or its client")
CONSUMER_RESTARTS = Counter("consumer_restarts_total", "Restarts of a stalled consumer")
CONSUMER_STUCK_PARTITIONS = Gauge(
    "consumer_stuck_partitions",
    "Partitions with waiting records from which nothing was read for the time of a stall",
    ["topic"],
)
BATCHES_UNREADABLE = Counter(
    "batches_unreadable_total", "Batches of records that could not be read and were parked whole", ["topic"]
)
CONSUMER_FUSED = Gauge("consumer_fused", "1 while consumption is stopped because too many events were parked")

DLQ_MESSAGES = Gauge("dlq_messages", "Unresolved dead letters", ["topic", "reason"])
DLQ_OLDEST_AGE_SECONDS = Gauge("dlq_oldest_age_seconds", "Age of the oldest unresolved dead letter")
DLQ_PARKED = Counter("dlq_parked_total", "Records parked", ["topic", "reason"])
DLQ_RESOLVED = Counter("dlq_resolved_total", "Dead letters replayed or dropped", ["resolution"])

OUTBOX_PENDING = Gauge("outbox_pending", "Events that wait to be published")
OUTBOX_OLDEST_AGE_SECONDS = Gauge("outbox_oldest_age_seconds", "Age of the oldest waiting event")
OUTBOX_PUBLISHED = Counter("outbox_published_total", "Events published")
OUTBOX_PUBLISH_FAILURES = Counter("outbox_publish_failures_total", "Batches that Kafka did not accept")
OUTBOX_DELIVERY_SECONDS = Histogram(
    "outbox_delivery_seconds", "From the row to the acknowledgement of Kafka", buckets=LATENCY_BUCKETS_S
)
OUTBOX_LEADER = Gauge("outbox_relay_leader", "1 in the process that publishes")

JOBS = Gauge("jobs", "Jobs that wait, run or have failed; an estimate above 50,000 of one status", ["status"])
JOB_OLDEST_QUEUED_AGE_SECONDS = Gauge("job_oldest_queued_age_seconds", "Age of the oldest job that may run")
JOB_WAIT_SECONDS = Histogram("job_wait_seconds", "From request to start", ["kind"], buckets=WORK_BUCKETS_S)
JOB_RUN_SECONDS = Histogram("job_run_seconds", "Time in the engine", ["kind"], buckets=WORK_BUCKETS_S)
JOB_ATTEMPTS = Histogram("job_attempts", "Attempts of a finished job", ["kind"], buckets=(1, 2, 3, 4, 8))
JOBS_FINISHED = Counter(
    "jobs_finished_total",
    "Attempts: completed, retried, failed, cancelled or lease_lost",
    ["kind", "outcome"],
)
JOB_LEASE_EXPIRED = Counter(
    "job_lease_expired_total", "Jobs whose worker died or stopped renewing the lease", ["kind"]
)
JOB_DEAD = Counter("job_dead_total", "Jobs that have failed for good", ["kind", "reason"])
JOB_FENCED_COMPLETIONS = Counter(
    "job_fenced_completions_total", "Results dropped because the lease had passed to another worker", ["kind"]
)
WORKERS = Gauge("workers", "Workers of this process", ["state"])

MODEL_REALTIME_FACTOR = Histogram(
    "model_realtime_factor",
    "Seconds in the engine per second of recording",
    ["kind"],
    buckets=(0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
MODEL_RECORDING_SECONDS = Counter(
    "model_recording_seconds_total", "Seconds of recordings processed", ["kind"]
)
MODEL_LOAD_SECONDS = Histogram(
    "model_load_seconds",
    "From an engine's start to its first task",
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
ENGINE_MEMORY_BYTES = Gauge("engine_memory_bytes", "Resident memory of the engines' processes")

DATABASE_CONNECTIONS = Gauge("database_connections", "Connections of this process", ["state"])
DATABASE_OLDEST_TRANSACTION_SECONDS = Gauge(
    "database_oldest_transaction_seconds", "Age of the oldest open transaction of the service's role"
)
DATABASE_DEAD_TUPLES = Gauge("database_dead_tuples", "Dead rows that vacuum has not removed yet", ["table"])
RETENTION_DELETED = Counter("retention_deleted_total", "Rows deleted because of their age", ["table"])
