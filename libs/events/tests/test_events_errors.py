"""The root of the error tree."""

import pickle

import pytest

from phonograph_events import EventError, PermanentError, PhonographError, TransientError


class DiskError(TransientError):
    reason = "disk"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PhonographError("The sun is too bright."), "error"),
        (PermanentError("The sun is too bright."), "permanent"),
        (TransientError("The sun is too bright."), "transient"),
        (EventError("The sun is too bright."), "invalid"),
        (DiskError("The sun is too bright."), "disk"),
        (DiskError("The sun is too bright.", reason="sun"), "sun"),
    ],
)
def test_error_has_a_reason_code_and_a_message(error: PhonographError, reason: str) -> None:
    assert isinstance(error, PhonographError)
    assert error.reason == reason
    assert error.message == str(error) == "The sun is too bright."
    assert error.to_logging_context() == {"reason": reason, "error": "The sun is too bright."}


def test_reason_of_an_instance_does_not_change_its_class() -> None:
    DiskError("The sun is too bright.", reason="sun")
    assert DiskError.reason == "disk"


def test_permanent_and_transient_errors_are_separate_branches() -> None:
    assert not issubclass(PermanentError, TransientError)
    assert not issubclass(TransientError, PermanentError)
    assert issubclass(EventError, PermanentError)
    assert issubclass(EventError, ValueError)


def test_error_survives_the_way_out_of_another_process() -> None:
    error = pickle.loads(pickle.dumps(PermanentError("The sun is too bright.", reason="sun")))
    assert (type(error), error.reason, error.message) == (PermanentError, "sun", "The sun is too bright.")
