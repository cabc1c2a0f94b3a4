"""Remembered recordings, the options and the engine of a job, and refused requests to run again."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from tests.support.engines import Sum
from tests.support.scratch import ScratchMedia, enqueue, rows, scratch_database, wait_until_ended
from tests.support.stack import Stack
from tests.support.worker import running_workers, store_sum

from phonograph_events import Cause, RerunRequested
from phonograph_runtime.database import Transaction
from phonograph_runtime.errors import RefusedRerunError
from phonograph_runtime.jobs import JobKind
from phonograph_runtime.reruns import RerunControl

REQUEST = RerunRequested(media_id=uuid4(), service="scratch")


async def test_task_of_a_recording_is_remembered_and_extended(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        known, other = uuid4(), uuid4()
        async with database.transaction() as transaction:
            await transaction.remember(Sum(numbers=[1.0]), known)
            await transaction.remember(Sum(numbers=[9.0]), other)
            assert await transaction.recall(Sum, known) == Sum(numbers=[1.0])
        async with database.transaction() as transaction:
            await transaction.remember(Sum(numbers=[2.0]), known)
        async with database.transaction() as transaction:
            assert await transaction.recall(Sum, known) == Sum(numbers=[2.0])
            assert await transaction.recall(Sum, other) == Sum(numbers=[9.0])
            assert await transaction.recall(Sum, uuid4()) is None


async def test_job_states_what_was_asked_and_what_did_the_work(stack: Stack) -> None:
    """Both are empty where nothing is known, and `model_config` until the job is completed (T1-07)."""
    async with scratch_database(stack) as (database, settings):
        media = ScratchMedia()
        async with database.transaction() as transaction:
            await transaction.enqueue("add", Sum(numbers=[1, 2]), media=media, requested={"language": "en"})
        plain = await enqueue(database, 1)
        query = f"SELECT id, processing_options, model_config FROM scratch_jobs ORDER BY id <> '{plain}'"
        before = [tuple(row)[1:] for row in await rows(database, query)]
        kind = JobKind("add", Sum, store_sum, used=lambda result: {"engine": "adder", "numbers": 2})
        async with running_workers(database, settings, kind=kind):
            for row in await rows(database, query):
                assert (await wait_until_ended(database, row.id))[0] == "completed"
        after = [tuple(row)[1:] for row in await rows(database, query)]
    used = {"engine": "adder", "numbers": 2}
    assert before == [({}, {}), ({"language": "en"}, {})]
    assert after == [({}, used), ({"language": "en"}, used)]


async def events_of(
    stack: Stack, event: RerunRequested, *causes: Cause | None
) -> tuple[list[str], list[UUID]]:
    """Return the reasons of the published refusals, and the ids with which the handler was called."""
    called: list[UUID] = []

    async def handle(_event: RerunRequested, request_id: UUID, _transaction: Transaction) -> None:
        if event.language == "xx":
            raise RefusedRerunError.unknown_recording("scratch")
        called.append(request_id)

    control = RerunControl("scratch", frozenset({"model", "language", "preset"}), handle)
    async with scratch_database(stack) as (database, _):
        for cause in causes:
            async with database.transaction(cause) as transaction:
                await control.rerun_requested(event, transaction)
        async with database.engine.connect() as connection:
            found = await connection.execute(
                text("SELECT convert_from(value, 'utf8')::jsonb ->> 'reason' FROM outbox ORDER BY seq")
            )
            return list(found.scalars()), called


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"model": "small", "preset": "fast"}, []),
        ({"service": "other", "speakers": 2}, []),
        ({"speakers": 2, "model": "small"}, ["bad_options"]),
        ({"preset": "perfect"}, ["bad_options"]),
        ({"language": "xx"}, ["unknown_recording"]),
    ],
)
async def test_request_that_cannot_be_met_is_answered(
    stack: Stack, changes: dict[str, object], reasons: list[str]
) -> None:
    found, called = await events_of(stack, REQUEST.model_copy(update=changes), Cause("e", "c", source="s"))
    assert found == reasons
    assert len(called) == (0 if reasons or "service" in changes else 1)


async def test_id_of_a_request_follows_from_its_event(stack: Stack) -> None:
    causes = (Cause("e", "c", source="s"), Cause("e", "d", source="s"), Cause("e", "c", source="t"))
    _, (first, again, other) = await events_of(stack, REQUEST, *causes)
    assert first == again != other
