"""Every text on the page, and the sentences that say an answer in words."""

from collections.abc import Sequence
from math import ceil

from ser_core.batch import BatchScores
from ser_core.config import AudioConfig
from ser_core.explain import Moment
from ser_core.live import LiveConfig, LiveSession
from ser_core.manifest import Manifest
from ser_core.models import ModelState
from ser_core.predictor import Analysis, Prediction
from ser_core.voice import VoiceProfile

NBSP = "\N{NO-BREAK SPACE}"

TITLE = "MoodMirror"
TAGLINE = (
    "How does this voice sound? Speak for a few seconds and see how much of each of eight "
    "emotions a machine hears in it."
)

CLIP = "Your clip"
ANALYSE = "Analyse"
PREDICTION = "Prediction"
EXAMPLES = "Or try a synthetic voice"
EXAMPLES_HINT = (
    "Made by a speech synthesiser that was told to sound like this. Nobody felt anything, "
    "so there is no right answer."
)

EMPTY_HEADING = "Nothing heard yet"
EMPTY_TEXT = "Record, upload or pick an example, and the answer appears here."
HINTS_HEADING = "What works best"
HINTS = (
    "One voice, one whole sentence: 2 to 10 seconds are best.",
    "A quiet place, a hand's width from the microphone.",
    "The words do not matter. The way they are said does.",
)

ANSWER_EYEBROW = "This voice sounds"
BARS_HEADING = "All eight emotions"
WAVEFORM_HEADING = "The part that counted"
WARNINGS_HEADING = "Take this answer with care"

FAILURE_HEADING = "No answer for this clip"
NO_CLIP = "There is no clip yet. Record a few seconds of speech or upload a file, then analyse it."
CLIP_GONE = (
    "This clip has been deleted from the server, as promised below. Record or upload it once more."
)
APOLOGY = (
    "Sorry, something went wrong on our side, not with your clip. "
    "Try once more; if it happens again, try another clip."
)

ADJECTIVES = {"disgust": "disgusted"}
"""Labels that are no adjectives, as adjectives."""
NOUNS = {
    "neutral": "neutral tone",
    "happy": "happiness",
    "sad": "sadness",
    "angry": "anger",
    "fearful": "fear",
    "surprised": "surprise",
}
"""Labels that are no nouns, as nouns."""

CLEAR_FROM = 0.85
"""Probability from which an answer is called clear."""
MOSTLY_FROM = 0.5
"""Probability from which one emotion outweighs all others together."""
MENTION_FROM = 0.1
"""Probability from which the second emotion is worth a word."""


MOST_STEPS = 5
"""Changes of emotion that a sentence still tells one by one."""


def percent(probability: float) -> str:
    """A probability as a whole percentage, such as `71 %`; `<1 %` and `>99 %` at the ends."""
    if 0.0 < probability < 0.01:
        return f"<1{NBSP}%"
    if 0.99 < probability < 1.0:
        return f">99{NBSP}%"
    return f"{100 * probability:.0f}{NBSP}%"


def seconds(duration_s: float) -> str:
    """A duration or moment as it is said, such as `0.6 s`, `12 s` or `2:05 min`."""
    if duration_s < 9.95:
        return f"{duration_s:.1f}".removesuffix(".0") + f"{NBSP}s"
    if duration_s < 59.5:
        return f"{duration_s:.0f}{NBSP}s"
    minutes, rest_s = divmod(round(duration_s), 60)
    return f"{minutes}:{rest_s:02d}{NBSP}min"


def sentence(prediction: Prediction) -> str:
    """The answer in words, such as «Mostly angry, 71 %; some fear, 16 %.».

    The smaller the probability, the less sure the words.
    """
    (first, p_first), (second, p_second) = prediction.ranked()[:2]
    leader = _pair(ADJECTIVES.get(first, first), p_first)
    if not prediction.certain:
        return f"Uncertain: {leader}, or {_pair(ADJECTIVES.get(second, second), p_second)}."
    adverb = "Perhaps"
    if p_first >= MOSTLY_FROM:
        adverb = "Clearly" if p_first >= CLEAR_FROM else "Mostly"
    trace = f"; some {_pair(NOUNS.get(second, second), p_second)}"
    return f"{adverb} {leader}{trace if p_second >= MENTION_FROM else ''}."


def _pair(word: str, probability: float) -> str:
    """Word and percentage, never parted at a line's end."""
    return f"{word},{NBSP}{percent(probability)}"


def used_part(prediction: Prediction) -> str:
    """Which part of the clip was judged, in words."""
    start, end = seconds(prediction.speech_start_s), seconds(prediction.speech_end_s)
    return f"Used: {start} to {end}, of {seconds(prediction.duration_s)}."


TIMELINE_HEADING = "How it goes"
TIMELINE_ZOOM = "Zoom"
PASSAGES_HEADING = "Hear the strongest passages"
DOWNLOAD = "Take the answer home:"
MOMENTS_METHOD = (
    "Each moment was left out in turn: up is what the answer lost by that, down what it gained."
)


def stretch(start_s: float, end_s: float) -> str:
    """A stretch of a recording, such as `0.3 s to 1.2 s`."""
    return f"{seconds(start_s)} to {seconds(end_s)}"


def moment(moment: Moment) -> str:
    """What one moment did for the answer."""
    return f"{stretch(moment.start_s, moment.end_s)}: {100 * moment.weight:+.0f} points"


def strongest_moment(strongest: Moment, prediction: Prediction) -> str:
    """Which moment spoke loudest for the answer."""
    where = stretch(strongest.start_s, strongest.end_s)
    if round(100 * strongest.weight) < 1:
        return f"No single moment made it sound {prediction.emotion}: all of them did."
    return (
        f"{where} spoke loudest for {prediction.emotion}: without it, "
        f"{100 * strongest.weight:.0f} points less."
    )


def course(analysis: Analysis) -> str:
    """How the likeliest emotion changes through a long recording."""
    steps: list[str] = []
    for window in analysis.windows:
        k = window.probabilities.index(max(window.probabilities))
        label = analysis.prediction.labels[k]
        if not steps or not steps[-1].startswith(label):
            steps.append(f"{label} from {seconds(window.start_s)}")
    shown = steps if len(steps) <= MOST_STEPS else [*steps[:MOST_STEPS], "and so on"]
    return f"{', then '.join(shown)}.".capitalize()


def answered_by(prediction: Prediction) -> str:
    """Which model answered, and how fast."""
    if "total" not in prediction.timings_ms:
        return f"Answered by {prediction.model}."
    return f"Answered by {prediction.model} in {prediction.timings_ms['total']:.0f}{NBSP}ms."


WHAT_IT_HEARS = (
    "What it hears",
    (
        "A style of speaking, not a feeling: nobody's inner life can be read off a voice.",
        "Loudness, pitch and timbre, compared with people who were asked to sound angry, "
        "calm or sad.",
        "Not the words: it understands no language.",
    ),
)

NEVER_FOR = (
    "What it must never be used for",
    (
        "policing, border control or lie detection",
        "hiring, or rating people at work or in school",
        "surveillance, or listening to anybody without consent",
        "diagnosis or treatment of any kind",
    ),
)


ABOUT_TAB = "About"
FOOTER = (
    "A machine hears a style of speaking, not a feeling. Never for policing, hiring, surveillance "
    "or diagnosis."
)
FIGURES_BY_CORPUS = "People it had never heard, by corpus"
CORPUS_HEADS = ("corpus", "clips", "UAR", "95 % interval", "accuracy", "ECE")
FIGURES_BY_EMOTION = "Each emotion"
EMOTION_HEADS = ("emotion", "clips", "heard", "right when named")
FIGURES_MEANING = (
    "UAR: the share of right answers, each emotion counting the same. Accuracy: the share of all "
    "clips. ECE: how far its confidence lies from its share of right answers, on average. All of "
    "it acted speech in English, by the people of those corpora; a stranger with another "
    "microphone is heard worse. Repeated by:"
)


def between(low: float, high: float) -> str:
    """An interval of shares, such as `70 to 75 %`."""
    return f"{100 * low:.0f} to {percent(high)}"


def privacy(deleted_after_s: int) -> tuple[str, str]:
    """Heading and text on what becomes of a clip.

    Args:
        deleted_after_s: Longest time that a clip stays on the server.
    """
    return (
        "What becomes of your clip",
        "It is judged on the server that runs this page and sent nowhere else. Its file is "
        f"deleted no later than {ceil(deleted_after_s / 60)} minutes after it arrived. Neither the "
        "clip nor the answer is stored, shared or used for training.",
    )


def limits(config: AudioConfig) -> tuple[str, tuple[str, ...]]:
    """Heading and items on what the page can take and where its answers are weak."""
    return (
        "Limits",
        (
            f"{config.min_duration_s:g}{NBSP}s to {config.max_duration_s / 60:g} minutes of sound, "
            f"at most {config.max_bytes // 1_000_000}{NBSP}MB: WAV, FLAC, MP3, Ogg, AIFF, AAC, "
            "m4a, mp4 or WebM.",
            "One voice at a time. Music or several speakers make the answer meaningless.",
            "Acted speech is plainer than everyday speech; other languages, children's voices "
            "and poor lines make errors likelier.",
        ),
    )


MODEL_NOTES = {
    ModelState.FETCHING: "The accurate model is being fetched; until then the {name} one answers.",
    ModelState.OFFLINE: "No network: the {name} model answers.",
    ModelState.FAILED: "The accurate model could not be prepared: the {name} one answers.",
    ModelState.SETTLED: "The {name} model answers.",
}


def model_note(state: ModelState, manifest: Manifest) -> str:
    """Which model answers now, and why not a better one."""
    return MODEL_NOTES[state].format(name=manifest.name)


def about_model(manifest: Manifest) -> tuple[str, tuple[str, ...]]:
    """Heading and points on the model that answers, its measured share of right answers first."""
    corpora = "; ".join(f"{corpus['title']} ({corpus['licence']})" for corpus in manifest.corpora)
    points = (
        f"{manifest.name} {manifest.version}, {manifest.n_parameters:,} weights, "
        f"licence {manifest.licence}.",
        f"Learnt from {corpora}.",
    )
    return f"The model «{manifest.name}»", (*_measured(manifest), *_certainty(manifest), *points)


def _measured(manifest: Manifest) -> tuple[str, ...]:
    test = manifest.metrics.get("test")
    if not test:
        return ()
    return (
        f"Right for {percent(test['uar'])} of {test['n_clips']:,} clips by "
        f"{len(manifest.split['test'])} people it had never heard, each emotion counting the "
        f"same. Guessing is right for {percent(1 / len(manifest.labels))}.",
    )


def _certainty(manifest: Manifest) -> tuple[str, ...]:
    certainty = manifest.certainty
    if certainty is None:
        return ()
    return (
        f"It says «Uncertain» where its best guess stays below {percent(certainty.confidence)}: "
        f"above that {percent(certainty.precision)} of its answers were right, for people it had "
        "never heard.",
    )


OPTIONS = "Model, noise, link"
MODEL_CHOICE = "Which model answers"
MODEL_CHOICES = {
    "auto": "the best at hand",
    "accurate": "accurate",
    "compact": "compact",
    "both": "both, side by side",
}
DENOISE = "Take off steady noise first"
DENOISE_HINT = "For a fan or a hum. The models learnt without it: leave it off for clean clips."
SHARE = "Copy a link to this setting"


def agreement(answers: Sequence[Prediction]) -> str:
    """Whether several models say the same."""
    if len(answers) == 1:
        return f"Only one model is at hand, {answers[0].model}."
    if len({answer.emotion for answer in answers}) == 1:
        return f"The models agree: {answers[0].emotion}."
    said = ", ".join(f"{answer.emotion} ({answer.model})" for answer in answers)
    return f"The models disagree: {said}."


SEE = "See the sound"
SEE_WAIT = "Drawing the pictures …"
STEPS = "Step by step"
STEPS_WAIT = "Walking through the stages …"
PICTURES = {
    "spectrogram": ("Spectrogram", "How much of each frequency, from moment to moment."),
    "mel spectrogram": ("Mel spectrogram", "The same as an ear would part it: finer below."),
    "MFCC": ("MFCC", "Thirteen numbers a moment for the timbre, each against its own mean."),
    "chroma": ("Chroma", "How much of each of the twelve tones, all octaves together."),
    "pitch": ("Pitch", "How high the voice is, where there is one; of the first 30 seconds."),
    "energy": ("Energy", "How loud each moment is, against the loudest."),
}
"""Heading and text of each picture of `ser_core.plots`."""
STAGES = {
    "loaded": ("As recorded", "Decoded, one channel, 16,000 samples a second."),
    "levelled": ("Levelled", "The offset is off, and the loudest moment at full scale."),
    "trimmed": ("Trimmed", "The silence before and after the speech is cut off."),
    "denoised": ("Denoised", "Steady noise is taken off."),
}
"""Heading and text of each stage of `ser_core.stages`."""
SEEN_BY_NETWORK = (
    "What the network sees",
    "A column a moment, a row a feature, each row from its lowest to its highest.",
)

VOICE_TAB = "My voice"
VOICE_HINTS = (
    "Some voices sound sad or angry to a machine when they are merely low or loud. Teach it what "
    "yours sounds like at rest, and answers come relative to that, beside the usual ones.",
    "Read any text aloud for 10 to 20 seconds, as you would to a friend.",
    "Only some numbers are kept, no sound, in this session alone; they are gone with this tab.",
)
VOICE_CLIP = "Your ordinary voice"
VOICE_LEARN = "Learn my voice"
VOICE_LOAD = "Or load a profile that you kept"
VOICE_FORGET = "Forget my voice"
VOICE_NO_CLIP = "There is no recording yet. Read something aloud for 10 to 20 seconds first."
VOICE_TOO_LARGE = "This file is too large for a voice profile. Choose the one that this page gave."
VOICE_UNKNOWN = "Your voice has not been taught."
VOICE_KEEP = "keeps it on your own disk; it holds numbers, no sound."
VOICE_EYEBROW = "Relative to your voice, this sounds"
CORRECTION = "That was really …"
CORRECT = "Correct it"
CORRECTION_NEEDS = "Teach your voice, judge a clip with one model, and choose what it really was."


def voice_known(profile: VoiceProfile) -> str:
    """What is known of a visitor's voice."""
    n = len(profile.corrections)
    corrections = "" if not n else f", with {n} correction{'s' if n > 1 else ''}"
    return (
        f"Your voice has been taught to {profile.model}{corrections}. The tab «{LISTEN_TAB}» now "
        "gives both answers, and takes corrections."
    )


def voice_unfit(profile: VoiceProfile) -> str:
    """Why an answer is not given relative to the visitor's voice."""
    return (
        f"Not relative to your voice: that was taught to {profile.model}. Choose that model, or "
        f"teach your voice anew under «{VOICE_TAB}»."
    )


def corrected(n: int, most: int) -> str:
    """What became of a correction."""
    return f"Noted, {n} of at most {most}. Analyse again to see what it changes."


LISTEN_TAB = "Listen"
LIVE_TAB = "Live"
LIVE_CLIP = "Your microphone"
LIVE_EMPTY_HEADING = "Not listening yet"
LISTENING = "Listening …"
LIVE_SUMMARY_EYEBROW = "This session sounded"
LIVE_NOTHING = "Nobody spoke in this session."
LIVE_HISTORY = "The last half minute"


def live_hint(config: LiveConfig) -> str:
    """What to do on the live tab."""
    return (
        f"Start the microphone and talk: an answer comes every {seconds(config.every_s)} of "
        f"sound, from the last {seconds(config.window_s)}. A session ends by itself after "
        f"{seconds(config.limit_s)}."
    )


def live_summary(session: LiveSession) -> str:
    """A session in a sentence, its two largest shares first."""
    shares = list(session.shares().items())[:2]
    told = " and ".join(f"{percent(share)} {label}" for label, share in shares)
    return f"{told}, in {seconds(session.heard_s)}."


MANY_TAB = "Many files"
MANY_FILES = "Recordings, or zips of them"
MANY_JUDGE = "Judge all"
MANY_CANCEL = "Stop"
MANY_TABLE = "Answers"
MANY_EMPTY = "No files yet. Add some, and the answers appear below, one row each."
MANY_CANCELLED = "Stopped. What was judged so far stays in the table."


MANY_SCORES = "How often it was right"
MANY_CONFUSION = "Files by actual emotion, down, and what was heard, across"
MANY_CORNER = "actual ↓ heard →"


def many_scores(scores: BatchScores) -> str:
    """How often a batch was right, for those files whose names tell the emotion."""
    return (
        f"{scores.n_files} file names tell the emotion that was acted. Right: "
        f"{percent(scores.accuracy)} of them (accuracy), {percent(scores.uar)} where each "
        "emotion counts the same (UAR)."
    )


def many_hint(max_files: int) -> str:
    """What to do on the tab for many files."""
    return (
        f"Up to {max_files} recordings at a time, one by one or zipped. A file that cannot be "
        "judged is a row with its reason. Click a column to sort by it. Where names follow "
        "RAVDESS, TESS, CREMA-D, SAVEE, EMO-DB or JL-Corpus, the acted emotion stands beside "
        "the answer."
    )


def many_progress(n_done: int, n_files: int) -> str:
    """How far a batch is."""
    return f"{n_done} of {n_files} judged."


def many_done(n_files: int, n_failed: int) -> str:
    """What came out of a batch."""
    problems = f" {n_failed} could not be judged: see the column «problem»." if n_failed else ""
    return f"All {n_files} done.{problems}"
