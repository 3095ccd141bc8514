#!/usr/bin/env python3
"""What the services that listen must answer, by the reference implementations.

    sound.py speech FOLDER      writes sound files; silero-vad's own rules on its own model's probabilities
    sound.py notes FOLDER       writes sound files; basic-pitch's own windows and rules on its model's maps
    sound.py midi FILE...       what pretty_midi reads in MIDI files

The first two print a JSON list: for each file its path, the options of the call, the call's JSON body where there are
options, the expected answer, and whether it is `exact`: elsewhere decoders and resamplers may differ. Needs the
packages silero-vad, basic-pitch, pretty_midi, soundfile, scipy, numpy and onnxruntime; real speech is the
recording in useful-moonshine-onnx's wheel.

silero-vad imports torch for its own reading of files and for its other model format. Neither is used here, so a
stand-in that answers nothing takes its place. basic-pitch imports librosa for reading files and for three
one-line formulas: the stand-in has the formulas.
"""

import base64
import importlib.util
import json
import logging
import math
import sys
from pathlib import Path
from unittest.mock import MagicMock, patch

import numpy
import onnxruntime
import soundfile
from scipy.signal import resample_poly

SPEECH_RATE = 16_000
STEP, CONTEXT = 512, 64


def package_file(package: str, path: str) -> Path:
    """A file of an installed package, which is not imported."""
    return Path(importlib.util.find_spec(package).submodule_search_locations[0]) / path


def silero():
    """silero-vad's rules, without torch."""
    sys.modules["torch"] = MagicMock()
    try:
        from silero_vad.utils_vad import get_speech_timestamps_from_probs
    finally:
        del sys.modules["torch"]
    return get_speech_timestamps_from_probs


def resampled(samples, rate: int, to: int):
    """One channel at another rate, by scipy's polyphase filter."""
    common = math.gcd(rate, to)
    return resample_poly(samples, to // common, rate // common).astype(numpy.float32)


def read(path: str, to: int):
    """A file as one channel at a rate."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = samples.mean(axis=1)
    return samples if rate == to else resampled(samples.astype(numpy.float64), rate, to)


def probabilities(samples) -> list[float]:
    """The package's main model, a window a run."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = onnxruntime.InferenceSession(
        str(package_file("silero_vad", "data/silero_vad.onnx")), options, providers=["CPUExecutionProvider"]
    )
    state = numpy.zeros((2, 1, 128), numpy.float32)
    before = numpy.zeros(CONTEXT, numpy.float32)
    rate = numpy.array(SPEECH_RATE, numpy.int64)
    found = []
    for start in range(0, len(samples), STEP):
        window = samples[start : start + STEP]
        window = numpy.concatenate([before, window, numpy.zeros(STEP - len(window), numpy.float32)])
        before = window[-CONTEXT:]
        output, state = model.run(None, {"input": window[None], "state": state, "sr": rate})
        found.append(float(output[0, 0]))
    return found


NAMES = {
    "threshold": "threshold",
    "negative_threshold": "neg_threshold",
    "min_speech_ms": "min_speech_duration_ms",
    "max_speech_s": "max_speech_duration_s",
    "min_silence_ms": "min_silence_duration_ms",
    "speech_pad_ms": "speech_pad_ms",
    "min_silence_at_split_ms": "min_silence_at_max_speech",
    "split_at_longest_silence": "use_max_poss_sil_at_max_speech",
}


def speech(path: Path, options: dict) -> dict:
    """Segments in seconds, and the probabilities that they come from."""
    samples = read(path, SPEECH_RATE)
    found = probabilities(samples)
    options = {NAMES[name]: value for name, value in options.items()}
    segments = silero()(found, audio_length_samples=len(samples), **options)
    return {
        "segments": [[one["start"] / SPEECH_RATE, one["end"] / SPEECH_RATE] for one in segments],
        "probabilities": found,
        "duration": len(samples) / SPEECH_RATE,
    }


def basic_pitch():
    """basic-pitch's windows and rules, without librosa and what only plays its notes."""
    librosa = MagicMock()
    librosa.midi_to_hz = lambda pitch: 440.0 * 2.0 ** ((numpy.asarray(pitch) - 69.0) / 12.0)
    librosa.hz_to_midi = lambda hertz: 12.0 * numpy.log2(numpy.asarray(hertz) / 440.0) + 69.0
    librosa.core.frames_to_time = lambda frames, sr, hop_length: frames * hop_length / sr
    logging.disable(logging.WARNING)
    with patch.dict(sys.modules, librosa=librosa, resampy=MagicMock(), mir_eval=MagicMock()):
        from basic_pitch import inference, note_creation
    return inference, note_creation


MUSIC_RATE = 22_050
NOTE_NAMES = {
    "onset_threshold": "onset_thresh",
    "frame_threshold": "frame_thresh",
    "min_frequency": "min_freq",
    "max_frequency": "max_freq",
    "infer_onsets": "infer_onsets",
    "melodia": "melodia_trick",
    "bends": "include_pitch_bends",
    "tempo": "midi_tempo",
}


def notes(path: Path, options: dict) -> dict:
    """Notes in the service's order, and the MIDI file that the package makes of them."""
    inference, note_creation = basic_pitch()
    samples = read(path, MUSIC_RATE)
    overlap = 30
    padded = numpy.concatenate([numpy.zeros(overlap * 128, numpy.float32), samples])
    hop = inference.AUDIO_N_SAMPLES - overlap * 256
    model = onnxruntime.InferenceSession(
        str(package_file("basic_pitch", "saved_models/icassp_2022/nmp.onnx")), providers=["CPUExecutionProvider"]
    )
    names = {"note": "StatefulPartitionedCall:1", "onset": "StatefulPartitionedCall:2", "contour": "StatefulPartitionedCall:0"}
    maps = {name: [] for name in names}
    for window, _ in inference.window_audio_file(padded, hop):
        outputs = model.run(list(names.values()), {model.get_inputs()[0].name: window[None]})
        for name, output in zip(maps, outputs):
            maps[name].append(output)
    maps = {name: inference.unwrap_output(numpy.concatenate(all), len(samples), overlap) for name, all in maps.items()}
    given = {NOTE_NAMES[name]: value for name, value in options.items() if name in NOTE_NAMES}
    given = {"onset_thresh": 0.5, "frame_thresh": 0.3} | given
    shortest = options.get("min_note_ms", 127.70)
    given["min_note_len"] = int(numpy.round(shortest / 1000 * (MUSIC_RATE / 256)))
    midi, events = note_creation.model_output_to_notes(maps, **given)
    found = [
        {
            "start": float(start),
            "end": float(end),
            "pitch": int(pitch),
            "amplitude": float(amplitude),
            "bends": [int(bend) for bend in bends or []],
        }
        for start, end, pitch, amplitude, bends in events
    ]
    found.sort(key=lambda note: (note["start"], note["pitch"]))
    return {"notes": found, "midi": midi_told(midi), "duration": len(samples) / MUSIC_RATE}


def midi_told(midi) -> dict:
    """A MIDI file's notes and bends, in order."""
    (instrument,) = midi.instruments or [None]
    if instrument is None:
        return {"notes": [], "bends": []}
    return {
        "program": int(instrument.program),
        "notes": sorted(
            [float(note.start), float(note.end), int(note.pitch), int(note.velocity)] for note in instrument.notes
        ),
        "bends": sorted([float(bend.time), int(bend.pitch)] for bend in instrument.pitch_bends),
    }


def strung(pitch: float, seconds: float, loudness: float, vibrato: float = 0.0):
    """A plucked tone of eight harmonics that dies away."""
    time = numpy.arange(int(seconds * MUSIC_RATE)) / MUSIC_RATE
    hertz = 440.0 * 2.0 ** ((pitch + vibrato * numpy.sin(2 * numpy.pi * 5 * time) - 69.0) / 12.0)
    phase = 2 * numpy.pi * numpy.cumsum(hertz) / MUSIC_RATE
    harmonics = sum(numpy.sin(k * phase) / k**1.5 for k in range(1, 9))
    return loudness * harmonics * numpy.exp(-2.5 * time) * numpy.minimum(1.0, time * 200)


def music(score: list[tuple], seconds: float):
    """Tones by when they start."""
    sound = numpy.zeros(int(seconds * MUSIC_RATE))
    for start, *tone in score:
        tone = strung(*tone)
        at = int(start * MUSIC_RATE)
        sound[at : at + len(tone)] += tone[: len(sound) - at]
    return 0.5 * sound / numpy.abs(sound).max()


NOTES_OPTIONS = [
    {"onset_threshold": 0.3, "frame_threshold": 0.2, "min_note_ms": 58.0},
    {"min_frequency": 200.0, "max_frequency": 500.0},
    {"infer_onsets": False, "melodia": False},
    {"bends": False, "tempo": 90.0},
]


def notes_samples(folder: Path) -> list[dict]:
    """A scale, chords with a bass, a bending tone, and what is no music, in several formats."""
    scale = music([(0.4 * i, pitch, 0.5, 0.8) for i, pitch in enumerate([60, 62, 64, 65, 67, 69, 71, 72])], 4.0)
    chords = [(0, 48), (0, 64), (0, 67), (0, 72), (1.5, 43), (1.5, 62), (1.5, 67), (1.5, 71), (3, 45), (3, 60), (3, 64)]
    chords = music([(start, pitch, 1.4, 0.5) for start, pitch in chords], 5.0)
    bending = music([(0.1, 57, 2.0, 0.8, 0.6), (2.2, 69, 1.0, 0.8, 0.0)], 3.5)
    made = [
        ("scale.wav", scale, MUSIC_RATE, True),
        ("chords.flac", chords, MUSIC_RATE, True),
        ("bending.wav", bending, MUSIC_RATE, True),
        ("chords44.flac", numpy.stack([resampled(chords, MUSIC_RATE, 44_100)] * 2, axis=1), 44_100, False),
        ("scale48.mp3", resampled(scale, MUSIC_RATE, 48_000), 48_000, False),
        ("silence.wav", numpy.zeros(MUSIC_RATE), MUSIC_RATE, True),
        ("short.wav", scale[:4_000], MUSIC_RATE, True),
    ]
    for name, sound, rate, _ in made:
        soundfile.write(folder / name, sound, rate)
    told = [sample(folder / name, exact, {}, notes) for name, _, _, exact in made]
    return told + [sample(folder / "chords.flac", True, options, notes) for options in NOTES_OPTIONS]


# Each rule at work: thresholds, paddings, and the ways to split.
OPTIONS = [
    {"threshold": 0.8, "negative_threshold": 0.7, "speech_pad_ms": 0},
    {"min_silence_ms": 1500, "speech_pad_ms": 200},
    {"min_speech_ms": 800, "min_silence_ms": 30},
    {"min_silence_ms": 2000, "max_speech_s": 2.5, "split_at_longest_silence": True},
    {
        "min_silence_ms": 2000,
        "max_speech_s": 2.5,
        "split_at_longest_silence": False,
        "min_silence_at_split_ms": 64,
    },
    {"min_silence_ms": 2000, "max_speech_s": 0.5, "min_silence_at_split_ms": 5000},
]


def sample(path: Path, exact: bool, options: dict, answer) -> dict:
    """One call and its answer."""
    told = {"file": str(path), "exact": exact, "options": options, "expected": answer(path, options)}
    if options:
        told["body"] = {"content": base64.b64encode(path.read_bytes()).decode(), "options": options}
    return told


def speech_samples(folder: Path) -> list[dict]:
    """Real speech in several formats, and what is no speech."""
    recording, rate = soundfile.read(package_file("moonshine_onnx", "assets/beckett.wav"))
    noise = numpy.random.default_rng(7).standard_normal(3 * rate) * 0.1
    tone = 0.5 * numpy.sin(2 * numpy.pi * 440 * numpy.arange(2 * rate) / rate)
    wide = resampled(recording, rate, 48_000)
    made = [
        ("speech.wav", recording, rate, True),
        ("speech.flac", recording, rate, True),
        ("speech.ogg", recording, rate, False),
        ("speech.mp3", recording, rate, False),
        ("stereo48.flac", numpy.stack([wide, 0.5 * wide], axis=1), 48_000, False),
        ("cd.wav", resampled(recording, rate, 44_100), 44_100, False),
        ("telephone.wav", resampled(recording, rate, 8_000), 8_000, False),
        ("noisy.wav", recording + numpy.resize(noise, len(recording)) * 0.3, rate, True),
        ("cut.wav", recording[: 3 * rate + 77], rate, True),
        ("noise.wav", noise, rate, True),
        ("tone.wav", tone, rate, True),
        ("silence.wav", numpy.zeros(rate), rate, True),
    ]
    for name, sound, its_rate, _ in made:
        soundfile.write(folder / name, numpy.clip(sound, -1, 1), its_rate)
    told = [sample(folder / name, exact, {}, speech) for name, _, _, exact in made]
    return told + [sample(folder / "speech.wav", True, options, speech) for options in OPTIONS]


def main() -> None:
    command, *paths = sys.argv[1:]
    if command == "midi":
        import pretty_midi

        answer = [midi_told(pretty_midi.PrettyMIDI(path)) for path in paths]
    else:
        (folder,) = map(Path, paths)
        folder.mkdir(parents=True, exist_ok=True)
        answer = {"speech": speech_samples, "notes": notes_samples}[command](folder)
    json.dump(answer, sys.stdout)
    print()


if __name__ == "__main__":
    main()
