"""A model that lacks memory is used in ways that need less, each with a warning."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from typing_extensions import override

from phonograph_runtime.errors import EngineUnavailableError
from phonograph_transcription.inference.whisper import WhisperTranscriber

from .support.fake_whisper import FakeModel, chunk_of


@dataclass
class Device:
    """A GPU whose memory holds a batch of one type only; the memory of the CPU holds any."""

    gpu_batch: dict[str, int]
    message: str = "CUDA failed with error out of memory"
    loaded: list[tuple[str, str]] = field(default_factory=list)
    done: list[tuple[str, str, int]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)

    def load(self, device: str, compute_type: str) -> FakeModel:
        self.loaded.append((device, compute_type))
        if device != "cpu" and self.gpu_batch.get(compute_type, 0) < 0:
            raise EngineUnavailableError(f"The model cannot be loaded: {self.message}")
        return LimitedModel(self, device, compute_type)


class LimitedModel(FakeModel):
    """A model on the device."""

    def __init__(self, owner: Device, device: str, compute_type: str) -> None:
        super().__init__(lambda sound: chunk_of((f" Yes{next(owner.numbers)}.", 1.0, 2.0)))
        self._owner = owner
        self._device = device
        self._type = compute_type

    @property
    @override
    def device(self) -> str:
        return self._device

    @override
    def encode(self, sounds):
        if self._device != "cpu" and len(sounds) > self._owner.gpu_batch.get(self._type, 0):
            raise RuntimeError(self._owner.message)
        self._owner.done.append((self._device, self._type, len(sounds)))
        return super().encode(sounds)


def transcribe(device: Device, talk, *, repeat: int = 30):
    transcriber = WhisperTranscriber(
        Path("nowhere"),
        model_name="m",
        device="cuda",
        compute_type="float16",
        batch_size=8,
        load_model=device.load,
    )
    samples = np.tile(talk, repeat)
    first = transcriber.predict(samples, language="en", progress=lambda *_: None)
    again = transcriber.predict(talk, language="en", progress=lambda *_: None)
    assert again.warnings == first.warnings
    return first


def warnings_of(transcript) -> list[str]:
    assert {warning.code for warning in transcript.warnings} <= {"memory_fallback"}
    return [warning.message.split(": ")[1] for warning in transcript.warnings]


def test_enough_memory_needs_no_warning(talk):
    device = Device({"float16": 8})
    assert warnings_of(transcribe(device, talk)) == []
    assert device.loaded == [("cuda", "float16")]


def test_a_smaller_batch_is_tried_first(talk):
    device = Device({"float16": 3})
    assert warnings_of(transcribe(device, talk)) == ["the batch was reduced to 2."]
    assert device.loaded == [("cuda", "float16")]
    assert max(size for _, _, size in device.done) == 2


def test_then_a_smaller_type_and_then_the_cpu(talk):
    device = Device({"float16": 0, "int8": 1})
    assert warnings_of(transcribe(device, talk)) == [
        "the batch was reduced to 1.",
        "the model was loaded as int8.",
    ]
    assert {step[:2] for step in device.done} == {("cuda", "int8")}

    device = Device({})
    assert warnings_of(transcribe(device, talk)) == [
        "the model was loaded as int8.",
        "the model was moved to the CPU.",
    ]
    assert device.loaded == [("cuda", "float16"), ("cuda", "int8"), ("cpu", "int8")]
    # A CPU has another memory: the batch of the settings is tried there.
    assert max(size for _, _, size in device.done) == 8


def test_a_model_too_large_to_load_is_loaded_smaller(talk):
    device = Device({"float16": -1, "int8": 8})
    assert warnings_of(transcribe(device, talk)) == ["the model was loaded as int8."]
    device = Device({"float16": -1, "int8": -1})
    assert warnings_of(transcribe(device, talk))[-1] == "the model was moved to the CPU."


def test_no_text_is_lost_or_repeated_by_a_step(talk):
    enough, little = Device({"float16": 8}), Device({"float16": 2, "int8": 2})
    assert transcribe(little, talk).segments == transcribe(enough, talk).segments


def test_other_errors_are_not_taken_for_a_lack_of_memory(talk):
    device = Device({}, message="the weights are damaged")
    with pytest.raises(RuntimeError, match="damaged"):
        transcribe(device, talk)
    assert device.loaded == [("cuda", "float16")]


def test_the_last_step_reports_that_memory_is_missing(talk, monkeypatch):
    device = Device({})

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(LimitedModel, "encode", fail)
    with pytest.raises(MemoryError):
        transcribe(device, talk)
    assert device.loaded[-1] == ("cpu", "int8")
