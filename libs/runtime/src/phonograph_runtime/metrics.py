"""Every metric of the runtime, recorded here so that all services have the same ones."""

from prometheus_client import Counter, Gauge, Histogram

EVENTS_CONSUMED = Counter(
    "events_consumed_total", "Records taken, by what became of them", ["topic", "result"]
)
EVENT_LATENCY_SECONDS = Histogram(
    "event_e2e_latency_seconds",
    "From the event's time to its effect",
    ["topic"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 30, 300, 3600),
)
BATCH_SECONDS = Histogram("event_batch_seconds", "One batch, one transaction")
CONSUMER_LAG = Gauge("consumer_lag_records", "Records waiting", ["topic", "partition"])
CONSUMER_LAST_PROGRESS = Gauge("consumer_last_progress_timestamp_seconds", "When a batch was last taken")
OUTBOX_PENDING = Gauge("outbox_pending", "Events waiting to be published")
OUTBOX_OLDEST_AGE_SECONDS = Gauge("outbox_oldest_age_seconds", "Age of the oldest waiting event")
OUTBOX_PUBLISHED = Counter("outbox_published_total", "Events published")
OUTBOX_LEADER = Gauge("outbox_relay_leader", "1 in the process that publishes")
DEAD_LETTERS = Gauge("dead_letters", "Parked records not yet replayed")
JOBS = Gauge("jobs", "Jobs by state", ["status"])
JOB_OLDEST_WAITING_SECONDS = Gauge("job_oldest_waiting_seconds", "Age of the oldest job that waits")
JOB_WAIT_SECONDS = Histogram(
    "job_wait_seconds", "From request to start", ["kind"], buckets=(0.1, 1, 10, 60, 600, 3600)
)
JOB_RUN_SECONDS = Histogram(
    "job_run_seconds", "Time in the engine", ["kind"], buckets=(0.1, 1, 10, 60, 300, 900, 3600, 14400)
)
JOBS_FINISHED = Counter("jobs_finished_total", "Attempts by outcome", ["kind", "outcome"])
