"""OpenTelemetry spans for events, jobs and the outbox; without an endpoint OpenTelemetry is not imported.

The trace is carried by the `traceparent` of the events (W3C Trace Context). One request is one trace over all
services: event consumed → job executed → event published → consumed by the next service.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

EXPORT_TIMEOUT_S = 2
PATH = "/v1/traces"

Kind = Literal["consumer", "producer", "internal"]


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work under a span, or under none if nothing is traced."""

    traceparent: str | None
    """Passed on to everything that follows; the incoming one if nothing is traced."""
    span: Any = None

    def failed(self, why: str) -> None:
        """Mark the span."""
        if self.span is not None:
            from opentelemetry.trace import Status, StatusCode

            self.span.set_status(Status(StatusCode.ERROR, why))


class Tracing:
    """Sends spans to a collector; without one, only passes the incoming `traceparent` on."""

    def __init__(self, service: str = "", otlp_endpoint: str | None = None) -> None:
        """Trace a service.

        Args:
            service: its name in the traces.
            otlp_endpoint: OTLP over HTTP, for example `http://collector:4318`; None traces nothing.
        """
        self._provider = _provider(service, otlp_endpoint) if otlp_endpoint else None

    @property
    def on(self) -> bool:
        """Whether anything is traced."""
        return self._provider is not None

    @contextmanager
    def step(
        self, name: str, kind: Kind, traceparent: str | None, about: Mapping[str, str | int | float]
    ) -> Iterator[Step]:
        """Run the block under a span; an exception marks it as failed.

        Args:
            name: Name of the span.
            kind: Kind of the span.
            traceparent: The parent in W3C notation; None starts a new trace.
            about: Attributes of the span.

        Yields:
            The step, whose `traceparent` is to be passed on.
        """
        if self._provider is None:
            yield Step(traceparent)
            return
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        headers = TraceContextTextMapPropagator()
        parent = headers.extract({"traceparent": traceparent} if traceparent else {})
        tracer = self._provider.get_tracer("phonograph")
        span = tracer.start_span(name, parent, SpanKind[kind.upper()], attributes=dict(about))
        carrier: dict[str, str] = {}
        headers.inject(carrier, set_span_in_context(span))
        step = Step(carrier["traceparent"], span)
        try:
            yield step
        except BaseException as error:
            span.record_exception(error)
            step.failed(repr(error))
            raise
        finally:
            span.end()

    async def aclose(self) -> None:
        """Send pending spans, without waiting for a collector that does not answer."""
        if self._provider is not None:
            await asyncio.to_thread(self._provider.shutdown)


OFF: Final = Tracing()


def _provider(service: str, otlp_endpoint: str) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_NAMESPACE, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    address = otlp_endpoint.rstrip("/").removesuffix(PATH) + PATH
    exporter = OTLPSpanExporter(endpoint=address, timeout=EXPORT_TIMEOUT_S)
    resource = Resource.create({SERVICE_NAME: service, SERVICE_NAMESPACE: "phonograph"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
    return provider
