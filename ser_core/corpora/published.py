"""The published corpora that are supported: a name, its source and what its file names mean."""

from dataclasses import replace
from pathlib import Path

from ser_core.corpora.base import Archive, Corpus

_RAVDESS_FIELDS = (
    r"-(?P<emotion>\d\d)-(?P<intensity>0[12])-(?P<statement>0[12])-0[12]"
    r"-(?P<speaker>0[1-9]|1\d|2[0-4])"
)
RAVDESS = Corpus(
    name="ravdess",
    title="Ryerson Audio-Visual Database of Emotional Speech and Song, speech",
    source="https://zenodo.org/records/1188976",
    licence="CC-BY-NC-SA-4.0",
    citation=(
        "Livingstone SR, Russo FA (2018). The Ryerson Audio-Visual Database of Emotional "
        "Speech and Song (RAVDESS). PLoS ONE 13(5): e0196391."
    ),
    folders=("ravdess", "RAVDESS", "Audio_Speech_Actors_01-24"),
    n_clips=1_440,
    emotions={
        "01": "neutral",
        "02": "calm",
        "03": "happy",
        "04": "sad",
        "05": "angry",
        "06": "fearful",
        "07": "disgust",
        "08": "surprised",
    },
    pattern="03-01" + _RAVDESS_FIELDS,
    women=frozenset(f"{actor:02}" for actor in range(2, 25, 2)),
    values={
        "intensity": {"01": "normal", "02": "strong"},
        "statement": {"01": "kids", "02": "dogs"},
    },
    archives=(
        Archive(
            url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
            md5="bc696df654c87fed845eb13823edef8a",
        ),
    ),
)
"""RAVDESS: 24 actors, two sentences; 1,440 spoken clips of eight emotions, 1,012 sung of six."""

RAVDESS_SONG = replace(
    RAVDESS,
    name="ravdess-song",
    title="Ryerson Audio-Visual Database of Emotional Speech and Song, song",
    # The two archives unpack into the same Actor_01 to Actor_24, so song may lie among speech.
    folders=("ravdess_song", "RAVDESS_song", "Audio_Song_Actors_01-24", *RAVDESS.folders),
    n_clips=1_012,
    emotions={code: RAVDESS.emotions[code] for code in ("01", "02", "03", "04", "05", "06")},
    pattern="03-02" + _RAVDESS_FIELDS,
    speakers="ravdess",
    archives=(
        Archive(
            url="https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip",
            md5="5411230427d67a21e18aa4d466e6d1b9",
        ),
    ),
)

TESS = Corpus(
    name="tess",
    title="Toronto Emotional Speech Set",
    source="https://doi.org/10.5683/SP2/E8H2MF",
    licence="CC-BY-NC-ND-4.0",
    citation=(
        "Pichora-Fuller MK, Dupuis K (2020). Toronto emotional speech set (TESS). "
        "Borealis, doi:10.5683/SP2/E8H2MF."
    ),
    folders=("tess", "TESS", "TESS Toronto emotional speech set data"),
    n_clips=2_800,
    emotions={
        "neutral": "neutral",
        "happy": "happy",
        "sad": "sad",
        "angry": "angry",
        "fear": "fearful",
        "disgust": "disgust",
        "ps": "surprised",
    },
    pattern=r"(?P<speaker>OAF?|YAF)_(?P<statement>[a-z]+)_(?P<emotion>[a-z]+)",
    women=frozenset({"OAF", "YAF"}),
    values={"speaker": {"OA": "OAF"}},  # one file is OA_bite_neutral
)
"""TESS: two actresses, 200 words in one carrier phrase, seven emotions, 2,800 clips."""

_CREMA_D_WOMEN = (
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025,
    1028, 1029, 1030, 1037, 1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060,
    1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078, 1079, 1082, 1084, 1089, 1091,
)  # fmt: skip
"""Actresses, from the publisher's VideoDemographics.csv."""
CREMA_D = Corpus(
    name="crema-d",
    title="Crowd-sourced Emotional Multimodal Actors Dataset",
    source="https://github.com/CheyneyComputerScience/CREMA-D",
    licence="ODbL-1.0",
    citation=(
        "Cao H, Cooper DG, Keutmann MK, Gur RC, Nenkova A, Verma R (2014). CREMA-D: "
        "Crowd-sourced Emotional Multimodal Actors Dataset. IEEE Transactions on Affective "
        "Computing 5(4): 377-390."
    ),
    # AudioWAV before the rest: the publisher has the same clips as MP3.
    folders=("crema_d/AudioWAV", "crema_d", "CREMA-D/AudioWAV", "CREMA-D", "AudioWAV"),
    n_clips=7_442,
    emotions={
        "ANG": "angry",
        "DIS": "disgust",
        "FEA": "fearful",
        "HAP": "happy",
        "NEU": "neutral",
        "SAD": "sad",
    },
    pattern=(
        r"(?P<speaker>1\d{3})_(?P<statement>[A-Z]{3})_(?P<emotion>[A-Z]{3})"
        r"_(?P<intensity>LO|MD|HI|XX?)"
    ),
    women=frozenset(map(str, _CREMA_D_WOMEN)),
    values={"intensity": {"LO": "low", "MD": "medium", "HI": "high", "X": "", "XX": ""}},
)
"""CREMA-D: 91 actors of many ages and origins, twelve sentences, six emotions, 7,442 clips."""

NEMO = Corpus(
    name="nemo",
    title="nEMO: Dataset of Emotional Speech in Polish",
    source="https://huggingface.co/datasets/amu-cai/nEMO",
    licence="CC-BY-NC-SA-4.0",
    citation=(
        "Christop I (2024). nEMO: Dataset of Emotional Speech in Polish. "
        "LREC-COLING 2024: 12111-12116."
    ),
    folders=("nemo", "nEMO"),
    n_clips=4_481,
    emotions={
        "neutral": "neutral",
        "happiness": "happy",
        "sadness": "sad",
        "anger": "angry",
        "fear": "fearful",
        "surprised": "surprised",
    },
    pattern=r"(?P<speaker>[A-Z]{2}\d)_(?P<emotion>[a-z]+)_(?P<statement>\d+)",
    women=frozenset({"EB0", "IC0", "KD0", "MK0"}),
)
"""nEMO: Polish, nine actors, ninety sentences, six emotions, 4,481 clips."""

ASED = Corpus(
    name="ased",
    title="Amharic Speech Emotion Dataset",
    source="https://github.com/Ethio2021/ASED_V1",
    licence="LicenseRef-not-stated",
    citation=(
        "Retta EA, Almekhlafi E, Sutcliffe R, Mhamed M, Ali H, Feng J (2023). A New Amharic "
        "Speech Emotion Dataset and Classification Benchmark. ACM Transactions on Asian and "
        "Low-Resource Language Information Processing 22(1)."
    ),
    folders=("ased", "ASED", "ASED_V1"),
    n_clips=2_474,
    emotions={"n1": "neutral", "f2": "fearful", "h3": "happy", "s4": "sad", "a5": "angry"},
    pattern=r"(?P<emotion>[A-Za-z]\d)-(?P<statement>\d\d)-\d\d-(?P<sex>01|02)-(?P<speaker>\d\d)",
    women=frozenset({"01"}),  # of the sexes: some speakers' numbers occur with both
    values={"emotion": {"N1": "n1", "F2": "f2", "H3": "h3", "S4": "s4", "A5": "a5"}},
)
"""ASED: Amharic, 65 speakers, five emotions, 2,474 clips."""

TUREV = Corpus(
    name="turev",
    title="Turkish Emotion Voice Database",
    source="https://github.com/Xeonen/TurEV-DB",
    licence="CC-BY-NC-ND-4.0",
    citation=(
        "Canpolat SF, Ormanoğlu Z, Zeyrek D (2020). Turkish Emotion Voice Database (TurEV-DB). "
        "SLTU-CCURL 2020: 368-375."
    ),
    folders=("turev", "TurEV", "TurEV-DB"),
    n_clips=1_735,
    emotions={"kz": "angry", "hl": "sad", "sk": "calm", "mt": "happy"},
    pattern=r"(?P<speaker>\d{4})_(?P<emotion>kz|hl|sk|mt)_(?P<statement>\w+)",
    women=frozenset({"1234", "1984", "7895"}),
)
"""TurEV-DB: Turkish, six actors, single words, four emotions, 1,735 clips."""

KOREAN = Corpus(
    name="korean",
    title="Korean Emotion-TTS Open Database, sample",
    source="https://github.com/emotiontts/emotiontts_open_db",
    licence="CC-BY-NC-SA-4.0",
    citation="Emotion-TTS project (2019). Korean emotional speech, open database, sample.",
    folders=("korean", "emotiontts_open_db"),
    n_clips=300,
    emotions={"000": "neutral", "001": "happy", "002": "angry", "003": "sad"},
    pattern=r"(?P<speaker>(?:ne|em)[a-z])(?P<emotion>00[0-3])(?P<statement>\d\d)",
    women=frozenset({"ema", "emb", "nea", "neb", "nec", "ned", "nee"}),
)
"""Emotion-TTS open data: Korean, 15 speakers, four emotions, a sample of 300 clips."""

EMOSPEECH = Corpus(
    name="emospeech",
    title="EmoSpeech, balanced part",
    source="https://github.com/RakshakTeam/emospeech-dataset-v1",
    licence="CC-BY-NC-SA-4.0",
    citation="Rakshak team (2019). EmoSpeech dataset, version 1.",
    folders=("emospeech", "emospeech-dataset-v1"),
    n_clips=2_700,
    emotions={"calm": "calm", "happy": "happy", "angry": "angry", "fearful": "fearful"},
    pattern=r"(?P<statement>[a-z]+)-[a-z ]+-(?P<emotion>calm|happy|angry|fearful)-.+",
)
"""EmoSpeech: English keywords from India, noisy rooms and streets, four emotions, 2,700 clips."""


def name_with_speaker(path: Path) -> str:
    """Return `DC_a01` for `AudioData/DC/a01.wav`, the publisher's layout, and for `DC_a01.wav`."""
    speaker = path.parent.name
    if speaker in ("DC", "JE", "JK", "KL") and not path.stem.startswith(speaker):
        return f"{speaker}_{path.stem}"
    return path.stem


SAVEE = Corpus(
    name="savee",
    title="Surrey Audio-Visual Expressed Emotion database",
    source="https://kahlan.eps.surrey.ac.uk/savee/",
    licence="LicenseRef-research-only",
    citation=(
        "Haq S, Jackson PJB (2010). Multimodal emotion recognition. In: Machine Audition: "
        "Principles, Algorithms and Systems, IGI Global, 398-423."
    ),
    folders=("savee", "SAVEE", "AudioData"),
    n_clips=480,
    emotions={
        "a": "angry",
        "d": "disgust",
        "f": "fearful",
        "h": "happy",
        "n": "neutral",
        "sa": "sad",
        "su": "surprised",
    },
    pattern=r"(?P<speaker>DC|JE|JK|KL)_(?P<statement>(?P<emotion>[a-z]{1,2})\d\d)",
    clip_name=name_with_speaker,
)
"""SAVEE: four men, seven emotions, 480 clips."""

_SECONDARY = "a secondary emotion of the publisher, without counterpart among the eight"
JL_CORPUS = Corpus(
    name="jl-corpus",
    title="JL-Corpus, emotional speech of New Zealand English",
    source="https://www.kaggle.com/datasets/tli725/jl-corpus",
    licence="CC0-1.0",
    citation=(
        "James J, Tian L, Watson CI (2018). An open source emotional speech corpus for human "
        "robot interaction applications. Interspeech 2018: 2768-2772."
    ),
    folders=("jl_corpus", "jl-corpus", "JL-Corpus", "Raw JL corpus (unchecked and unannotated)"),
    n_clips=2_400,
    emotions={"angry": "angry", "happy": "happy", "neutral": "neutral", "sad": "sad"},
    pattern=r"(?P<speaker>(?:female|male)[12])_(?P<emotion>[a-z]+)_(?P<statement>\d+[ab])_\d",
    women=frozenset({"female1", "female2"}),
    dropped={
        "excited": "the publisher sets it apart from happy, and the eight have one of the two",
        "anxious": "a secondary emotion of the publisher; unease, which is less than fearful",
        "apologetic": _SECONDARY,
        "assertive": _SECONDARY,
        "concerned": _SECONDARY,
        "encouraging": _SECONDARY,
    },
)
"""JL-Corpus: four New Zealand actors, five primary and five secondary emotions, 2,400 clips."""

EMO_DB = Corpus(
    name="emo-db",
    title="Berlin Database of Emotional Speech",
    source="https://zenodo.org/records/7447302",
    licence="CC-BY-4.0",  # the record's; the header inside the archive says CC0-1.0
    citation=(
        "Burkhardt F, Paeschke A, Rolfes M, Sendlmeier WF, Weiss B (2005). A database of German "
        "emotional speech. Interspeech 2005: 1517-1520."
    ),
    folders=("emo_db", "emodb", "EMO-DB", "EmoDB"),
    n_clips=535,
    emotions={
        "W": "angry",
        "E": "disgust",
        "A": "fearful",
        "F": "happy",
        "T": "sad",
        "N": "neutral",
    },
    pattern=r"(?P<speaker>\d\d)(?P<statement>[ab]\d\d)(?P<emotion>[A-Z])[a-z]",
    women=frozenset({"08", "09", "13", "14", "16"}),
    dropped={"L": "boredom has no counterpart among the eight"},
    archives=(
        Archive(
            url="https://zenodo.org/records/7447302/files/emodb.zip",
            md5="9d21362dbc5676ef3ab4745d83ced0db",
        ),
    ),
)
"""EMO-DB: ten actors, ten German sentences, seven emotions, 535 clips."""

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        RAVDESS, RAVDESS_SONG, TESS, CREMA_D, NEMO, ASED, TUREV, KOREAN, EMOSPEECH,
        SAVEE, JL_CORPUS, EMO_DB,
    )
}  # fmt: skip
