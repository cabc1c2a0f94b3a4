"""Enhancement by rules: what changes and what stays, and the way from the request to v2 and v4."""

import pytest
from sqlalchemy.exc import IntegrityError
from tests.support.stack import running
from tests.support.transcripts import Archive, media_ref

from phonograph_events import EnhancementRequested, Fillers, JobFailed, TranscriptionCompleted
from phonograph_events.documents import TranscriptDocument, Turn
from phonograph_transcription.domain.enhancement import EnhancementRules, enhance
from phonograph_transcription.domain.numbers import parse_number
from phonograph_transcription.domain.transcript import Segment, Transcript, Word
from phonograph_transcription.main import create_app


def segment(text: str, start_s: float = 0.0, pauses: dict[int, float] | None = None, **changes) -> Segment:
    """Return a segment with words of 0.4 s; `pauses` has the seconds of silence after words."""
    words, time_s = [], start_s
    for number, word in enumerate(text.split()):
        words.append(Word(word, round(time_s, 3), round(time_s + 0.4, 3), 0.9, "S1"))
        time_s += 0.4 + (pauses or {}).get(number, 0.0)
    return Segment(start_s, time_s, text, tuple(words), 0.9, **changes)


def enhanced(text: str, language: str | None = "en", **rules) -> str:
    transcript = Transcript("e", "m", language, 0.9, (segment(text),))
    return enhance(transcript, EnhancementRules(**rules)).transcript.text


@pytest.mark.parametrize(
    ("fillers", "text"),
    [
        (Fillers.NONE, "Um, we have, you know, a sort of plan, uh."),
        (Fillers.SOME, "We have, you know, a sort of plan."),
        (Fillers.ALL, "We have, a sort of plan."),
    ],
)
def test_fillers_are_removed_in_three_degrees(fillers, text):
    assert enhanced("Um, we have, you know, a sort of plan, uh.", fillers=fillers) == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("The the plan is is good.", "The plan is good."),
        ("I, I think that that is it. It works.", "I think that that is it. It works."),
        ("No, no, it had had to, very very much.", "No, no, it had had to, very very much."),
    ],
)
def test_stuttered_words_are_said_once_and_emphasis_stays(before, after):
    assert enhanced(before) == after


@pytest.mark.parametrize(
    ("words", "digits"),
    [
        ("ten", "10"),
        ("twenty-three", "23"),
        ("two hundred and five", "205"),
        ("one hundred", "100"),
        ("three million two hundred thousand and six", "3200006"),
        ("twelve hundred", None),
        ("five thousand million", None),
        ("three point one four", "3.14"),
        ("nine", None),
        ("one two three", None),
        ("nineteen eighty four", None),
        ("two hundred and", None),
        ("twenty point", None),
        ("twenty ten", None),
        ("zero", None),
    ],
)
def test_a_number_is_written_in_digits_if_it_is_one_number(words, digits):
    assert parse_number(words.split()) == digits


def test_numbers_in_a_sentence_keep_punctuation_times_and_the_least_confidence():
    text = "It costs twenty five euros, not one hundred, or two and a half."
    found = enhance(Transcript("e", "m", "en", 0.9, (segment(text),)), EnhancementRules())
    assert found.transcript.text == "It costs 25 euros, not 100, or two and a half."
    assert found.transcript.segments[0].words[2] == Word("25", 0.8, 1.6, 0.9, "S1")
    assert [(each.kind, each.before, each.after) for each in found.improvements] == [
        ("number", "twenty five", "25"),
        ("number", "one hundred,", "100,"),
    ]
    assert found.metadata["counts"] == {"number": 2}


def test_text_without_casing_gets_sentences_from_pauses():
    plain = (
        segment("where is the key i can't find it", pauses={3: 0.9}),
        segment("and i'm late", start_s=4.2),
        segment("so it goes", start_s=9.0),
    )
    found = enhance(Transcript("pocketsphinx", "m", "en", 0.9, plain), EnhancementRules())
    assert found.transcript.text == "Where is the key? I can't find it\nand I'm late.\nSo it goes."


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Already written. Not a word changes.", "en"),
        ("Um, das das ist twenty five.", "de"),
        ("Um, the the twenty five.", None),
        ("", "en"),
    ],
)
def test_what_the_rules_do_not_know_stays(text, language):
    assert enhanced(text, language) == text


def test_a_text_that_is_not_its_words_is_left_alone_and_counted():
    odd = Segment(0, 1, "um the the words", (Word("others", 0, 1, 0.9),))
    found = enhance(Transcript("e", "m", "en", 0.9, (odd,)), EnhancementRules())
    assert found.transcript.segments == (odd,)
    assert (found.improvements, found.metadata["segments_left_alone"]) == ((), 1)


@pytest.fixture
def archive(stack, tmp_path, correlation_id):
    return Archive(stack, tmp_path, correlation_id)


async def test_a_request_leads_to_a_v2_and_with_speakers_to_a_v4(archive):
    """Shows T0-08, T0-11, T0-32 and T0-43."""
    media = media_ref()
    turns = (Turn(start=0.0, end=1.5, speaker="Ann"), Turn(start=1.6, end=4.0, speaker="Bob"))
    first = await archive.add(media, segment("Um, the the plan costs twenty five euros."), turns=turns)
    request = EnhancementRequested(media_id=media.media_id)
    async with running(create_app(archive.settings)):
        await archive.stack.publish(request, correlation_id=archive.correlation_id)
        events = await archive.stack.collect(
            lambda found: sum(isinstance(e.data, TranscriptionCompleted) for e in found) == 2,
            correlation_id=archive.correlation_id,
        )
    v2, v4 = [event.data for event in events if isinstance(event.data, TranscriptionCompleted)]
    assert (v2.pipeline_version, v2.version, v2.parent_result_id) == ("v2", 2, first)
    assert (v4.pipeline_version, v4.version, v4.parent_result_id) == ("v4", 3, v2.result_id)
    document = TranscriptDocument.model_validate_json(archive.objects.get(v4.document_uri))
    assert [(each.speaker, each.text) for each in document.segments] == [
        ("Ann", "The plan"),
        ("Bob", "costs 25 euros."),
    ]
    ((content, text, job_status, progress, parameters, result),) = await archive.execute(
        "SELECT result.enhanced_content_v2, old.enhanced_content, job.status, job.progress, job.parameters,"
        " job.result_data FROM transcription_results AS result JOIN transcripts AS old USING (id)"
        " JOIN v2_processing_jobs AS job ON job.id = result.job_id WHERE result.id = :id",
        id=v2.result_id,
    )
    assert content["enhanced_text"] == text == "The plan costs 25 euros."
    assert [each["kind"] for each in content["improvements"]] == ["filler", "repetition", "number"]
    assert content["enhancement_metadata"]["is_cached"] is False
    assert (job_status, progress) == ("completed", 1.0)
    assert parameters == {"fillers": "some", "repetitions": True, "numbers": True, "casing": True}
    assert result["result_id"] == str(v2.result_id)


async def test_an_equal_request_takes_the_result_from_the_cache(archive):
    """Shows T0-23."""
    media = media_ref()
    await archive.add(media, segment("Um, a plan."))
    requests = [
        EnhancementRequested(media_id=media.media_id),
        EnhancementRequested(media_id=media.media_id),
        EnhancementRequested(media_id=media.media_id, fillers=Fillers.NONE),
    ]
    answers = await archive.ask(TranscriptionCompleted, *requests)
    assert [answer.version for answer in answers] == [2, 3, 4]
    rows = await archive.execute(
        "SELECT enhanced_content_v2 ->> 'enhanced_text',"
        " enhanced_content_v2 -> 'enhancement_metadata' ->> 'is_cached' FROM transcription_results"
        " WHERE media_file_id = :id AND pipeline_version = 'v2' ORDER BY version",
        id=media.media_id,
    )
    assert [tuple(row) for row in rows] == [
        ("A plan.", "false"),
        ("A plan.", "true"),
        ("Um, a plan.", "false"),
    ]


async def test_a_request_that_cannot_be_met_is_refused_by_an_event(archive):
    media = media_ref()
    await archive.add(media, segment("A plan."))
    failures = await archive.ask(
        JobFailed,
        EnhancementRequested(media_id=media.media_id, fillers="most"),
        EnhancementRequested(media_id=media_ref().media_id),
    )
    assert {(each.kind, each.reason, each.final) for each in failures} == {
        ("enhance", "bad_options", True),
        ("enhance", "no_transcript", True),
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("completed", "running"),
        ("completed", "pending"),
        ("failed", "completed"),
        ("pending", "completed"),
        ("cancelled", "running"),
    ],
)
async def test_an_invalid_transition_of_a_v2_job_is_refused(archive, before, after):
    """Shows T0-43."""
    result_id = await archive.add(media_ref(), segment("A plan."))
    await archive.execute(
        "INSERT INTO v2_processing_jobs (id, transcript_id, job_type, status)"
        " VALUES (:id, :id, 'x', :status)",
        id=result_id,
        status=before,
    )
    change = "UPDATE v2_processing_jobs SET status = :status WHERE id = :id"
    with pytest.raises(IntegrityError, match=f"that is {before} cannot become {after}"):
        await archive.execute(change, id=result_id, status=after)
