"""The analysis as a document, for events and the object store."""

from phonograph_analysis.domain.results import Key, MusicAnalysis, Tempo
from phonograph_analysis.domain.tonality import to_camelot, to_open_key
from phonograph_events.documents import KeySection, MusicDocument, TempoSection


def to_document(analysis: MusicAnalysis) -> MusicDocument:
    """Return the document of an analysis."""
    tempo, bars, key = analysis.tempo, analysis.bars, analysis.key
    timbre, spectrum = analysis.timbre, analysis.spectrum
    return MusicDocument(
        engine=analysis.engine,
        algorithm_build=analysis.algorithm_build,
        bpm=tempo.bpm if tempo else None,
        bpm_confidence=tempo.confidence if tempo else None,
        bpm_candidates=list(tempo.candidates) if tempo else [],
        key=key.key if key else None,
        scale=key.scale if key else None,
        key_strength=key.strength if key else None,
        loudness_lufs=analysis.loudness_lufs,
        danceability=analysis.danceability,
        beats=list(tempo.beats) if tempo else [],
        timbre_mean=list(timbre.mean) if timbre else None,
        timbre_variance=list(timbre.variance) if timbre else None,
        tempo_needs_review=tempo.needs_review if tempo else None,
        tempo_sections=tempo_sections(tempo),
        beats_per_bar=bars.beats_per_bar if bars else None,
        downbeats=list(bars.downbeats) if bars else [],
        key_sections=key_sections(key),
        camelot=to_camelot(key.key, key.scale) if key else None,
        open_key=to_open_key(key.key, key.scale) if key else None,
        tuning_hz=analysis.tuning_hz,
        loudness_range_lu=analysis.loudness_range_lu,
        true_peak_dbtp=analysis.true_peak_dbtp,
        onset_rate=analysis.onset_rate,
        energy=analysis.energy,
        timbre_covariance=[list(row) for row in timbre.covariance] if timbre else None,
        spectrum_mean=list(spectrum.mean) if spectrum else None,
        spectrum_covariance=[list(row) for row in spectrum.covariance] if spectrum else None,
        reasons=analysis.reasons,
    )


def tempo_sections(tempo: Tempo | None) -> list[TempoSection]:
    """Return the stretches of one tempo."""
    return [
        TempoSection(start=section.start_s, end=section.end_s, bpm=section.bpm)
        for section in (tempo.sections if tempo else ())
    ]


def key_sections(key: Key | None) -> list[KeySection]:
    """Return the stretches of one key."""
    return [
        KeySection(start=section.start_s, end=section.end_s, key=section.key, scale=section.scale)
        for section in (key.sections if key else ())
    ]
