"""One request is one trace: from the command line through two services, received by a test collector."""

import gzip
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.support.stack import ROOT, Stack, running

from phonograph_cli import kafka
from phonograph_cli.project import OTLP_ENDPOINT
from phonograph_events import Envelope, IngestRequested, MediaRejected, Profile, Service
from phonograph_ingest.config import Settings as IngestSettings
from phonograph_ingest.main import create_app as create_ingest
from phonograph_tracklist.config import Settings as TracklistSettings
from phonograph_tracklist.main import create_app as create_tracklist

SAMPLE = ROOT / "tests/samples/mix.mp3"


@dataclass
class Collector:
    """The received spans, each with the service that sent it."""

    address: str = ""
    spans: list[tuple[str, Span]] = field(default_factory=list)

    def receive(self, body: bytes) -> None:
        """Add the spans of one export request."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(names["service.name"], span) for span in scope.spans]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.receive(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    collector.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield collector
    server.shutdown()


def has(event_type: str) -> Callable[[list[Envelope]], bool]:
    return lambda events: any(event.type == event_type for event in events)


async def test_one_request_is_one_trace_through_the_services(
    stack: Stack, tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every span descends from the span of the request, and every event belongs to a span."""
    monkeypatch.setenv(OTLP_ENDPOINT, collector.address)
    (file := tmp_path / "mix.mp3").write_bytes(SAMPLE.read_bytes())
    traced = {"otlp_endpoint": collector.address}
    ingest = create_ingest(IngestSettings(**stack.settings(Service.INGEST, tmp_path), **traced))
    tracklist = create_tracklist(TracklistSettings(**stack.settings(Service.TRACKLIST, tmp_path), **traced))
    request = IngestRequested(uri=file.as_uri(), profile=Profile.MUSIC, owner=str(uuid4()))
    async with running(ingest), running(tracklist):
        async with kafka.connect(stack.addresses.kafka_bootstrap_servers) as client:
            [sent] = await client.publish([request])
        events = await stack.collect(
            has("phonograph.tracklist.completed.v1"), correlation_id=sent.correlationid
        )
    assert sent.traceparent is not None
    trace = sent.traceparent.split("-")[1]
    by_id = {
        span.span_id: (service, span) for service, span in collector.spans if span.trace_id.hex() == trace
    }
    roots = [span.name for _, span in by_id.values() if not span.parent_span_id]
    assert roots == ["publish ingest-requested"]
    assert {span.parent_span_id for _, span in by_id.values() if span.parent_span_id} <= by_id.keys()

    chain = []
    service, span = next(each for each in by_id.values() if each[1].name == "publish tracklist-completed")
    while True:
        chain.append(f"{service}: {span.name}")
        if not span.parent_span_id:
            break
        service, span = by_id[span.parent_span_id]
    assert [each.split(" ")[:2] for each in reversed(chain)] == [
        ["cli:", "publish"],
        ["ingest:", "process"],
        ["ingest:", "job"],
        ["tracklist:", "process"],
        ["tracklist:", "job"],
        ["tracklist:", "publish"],
    ]
    for event in events:
        assert event.traceparent is not None
        assert event.traceparent.split("-")[1] == trace
        assert bytes.fromhex(event.traceparent.split("-")[2]) in by_id
    jobs = [span for _, span in by_id.values() if span.name.startswith("job ")]
    assert all("phonograph.job.waited_s" in {each.key for each in span.attributes} for span in jobs)
    assert Counter(service for service, _ in by_id.values()).keys() == {"cli", "ingest", "tracklist"}


async def test_without_a_collector_the_trace_of_the_producer_is_passed_on(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """The `traceparent` of a producer, as OpenTelemetry writes it, is unchanged on the events that follow."""
    traceparent = f"00-{uuid4().hex}-{uuid4().hex[:16]}-01"
    request = IngestRequested(uri=(tmp_path / "missing.mp3").as_uri())
    record = Envelope.model_validate(
        {
            "id": str(uuid4()),
            "source": "/studio",
            "type": request.event_type(),
            "subject": request.subject,
            "time": "2026-11-21T12:00:00Z",
            "correlationid": correlation_id,
            "data": request,
        }
    ).to_record()
    headers = [*record.headers, ("traceparent", traceparent.encode())]
    async with running(create_ingest(IngestSettings(**stack.settings(Service.INGEST, tmp_path)))):
        await stack.send(replace(record, headers=headers))
        events = await stack.collect(has(MediaRejected.event_type()), correlation_id=correlation_id)
    assert {event.traceparent for event in events} == {traceparent}


def test_opentelemetry_is_not_imported_without_a_collector() -> None:
    code = """
import sys
import phonograph_cli.main, phonograph_ingest.main
from phonograph_runtime.tracing import Tracing
with Tracing("ingest").step("job", "internal", "kept", {}) as step:
    assert step.traceparent == "kept"
print(*(name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.trace"))))
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == []
