"""What the example clips say, and how: one sentence, eight styles, the list of clips.

The directions (anger fast, loud and bright; sadness slow, low and dull; …) follow the review
of P. N. Juslin and P. Laukka, "Communication of emotions in vocal expression and music
performance", Psychological Bulletin 129 (2003). How far each goes is a choice made here.
"""

from dataclasses import dataclass

CARRIER = "The train leaves from the other platform today"
HIGH_VOICE = "en-us+f3"
LOW_VOICE = "en-us+m3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How to say the sentence; the defaults say it plainly.

    A contour is any number of points, spread evenly from the first sample to the last.

    Attributes:
        ending: The punctuation, which sets espeak-ng's own intonation.
        stressed: Words with emphasis.
        pause_after: Words followed by a pause of `pause_ms`.
        pause_ms: Length of each pause.
        rate_pct: Speaking rate, 100 being the voice's own.
        pitch_pct: Pitch, 100 being the voice's own.
        range_pct: Pitch range, 100 being the voice's own.
        semitones: Contour added to the pitch.
        loudness_db: Contour added to the level.
        tremor: Shake of the pitch, ± this many semitones, and of the level, ± 3 dB for each.
        creak: How much every second glottal pulse is weakened at the end of the sentence, 0 to 1.
        breath: Whispered noise beside the voice; 1 would be about half its amplitude.
        tilt_db_per_octave: Slope added to the spectrum; positive is brighter.
        attack: Onsets sharpened (positive) or softened (negative).
        drive: Saturation, above 0; the higher, the denser and harsher.
        peak_dbfs: Level of the highest sample.
    """

    ending: str = "."
    stressed: tuple[str, ...] = ()
    pause_after: tuple[str, ...] = ()
    pause_ms: int = 200
    rate_pct: int = 100
    pitch_pct: int = 100
    range_pct: int = 100
    semitones: tuple[float, ...] = (0.0,)
    loudness_db: tuple[float, ...] = (0.0,)
    tremor: float = 0.0
    creak: float = 0.0
    breath: float = 0.02
    tilt_db_per_octave: float = -1.5
    attack: float = 0.0
    drive: float = 1.0
    peak_dbfs: float = -6.0


STYLES: dict[str, Style] = {
    "neutral": Style(range_pct=70),
    "calm": Style(
        pause_after=("leaves",),
        rate_pct=85,
        pitch_pct=92,
        range_pct=60,
        semitones=(0.0, -1.0, -2.0),
        breath=0.15,
        tilt_db_per_octave=-2.5,
        attack=-0.3,
        peak_dbfs=-9.0,
    ),
    "happy": Style(
        ending="!",
        stressed=("other",),
        rate_pct=110,
        pitch_pct=112,
        range_pct=150,
        semitones=(1.0, 3.0, 0.0, 3.0, 6.0),
        loudness_db=(0.0, 2.0, 0.0, 2.0),
        tilt_db_per_octave=-0.5,
        attack=0.3,
        drive=1.5,
        peak_dbfs=-3.0,
    ),
    "sad": Style(
        pause_after=("leaves",),
        pause_ms=250,
        rate_pct=80,
        pitch_pct=90,
        range_pct=30,
        semitones=(0.0, -1.0, -3.0, -4.0),
        loudness_db=(0.0, -2.0, -6.0),
        tremor=0.15,
        breath=0.25,
        tilt_db_per_octave=-3.5,
        attack=-0.4,
        peak_dbfs=-11.0,
    ),
    "angry": Style(
        ending="!",
        stressed=("train", "other", "today"),
        rate_pct=120,
        pitch_pct=120,
        range_pct=150,
        semitones=(3.0, 4.0, 3.0, -1.0),
        loudness_db=(2.0, 0.0, 2.0, 2.0),
        tilt_db_per_octave=1.5,
        attack=0.7,
        drive=3.0,
        peak_dbfs=-1.0,
    ),
    "fearful": Style(
        pause_after=("train", "other"),
        pause_ms=100,
        rate_pct=125,
        pitch_pct=140,
        range_pct=50,
        semitones=(3.0, 4.0, 3.0, 5.0),
        tremor=0.9,
        breath=0.25,
        tilt_db_per_octave=-1.0,
        peak_dbfs=-8.0,
    ),
    "disgust": Style(
        stressed=("other",),
        pause_after=("other",),
        pause_ms=150,
        rate_pct=82,
        pitch_pct=80,
        range_pct=130,
        semitones=(0.0, 2.0, -3.0, -5.0),
        loudness_db=(0.0, 1.0, -2.0),
        creak=0.7,
        tilt_db_per_octave=-1.0,
        drive=2.0,
    ),
    "surprised": Style(
        ending="?",
        stressed=("other",),
        rate_pct=104,
        pitch_pct=120,
        range_pct=130,
        semitones=(0.0, 1.0, 2.0, 10.0),
        loudness_db=(-2.0, 0.0, 2.0),
        breath=0.08,
        tilt_db_per_octave=-1.0,
        attack=0.4,
        peak_dbfs=-4.0,
    ),
}


@dataclass(frozen=True, slots=True)
class Clip:
    """One file: the sentence said once in each of `styles`, by one voice."""

    name: str
    styles: tuple[str, ...]
    voice: str = HIGH_VOICE


CLIPS: tuple[Clip, ...] = (
    *(Clip(f"synthetic-{emotion}", (emotion,)) for emotion in STYLES),
    Clip("synthetic-happy-low-voice", ("happy",), LOW_VOICE),
    Clip("synthetic-sad-low-voice", ("sad",), LOW_VOICE),
    Clip("synthetic-calm-to-angry", ("calm", "calm", "angry", "angry")),
)
