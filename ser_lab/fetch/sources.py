"""Where each corpus is fetched from: the publishers' own files, with the hashes they publish.

Which address was seen in use elsewhere, and which follows from documentation alone, stands
beside each; none was reached from where this was written.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import requests

from ser_core.corpora import AUDIO_SUFFIXES, CORPORA, Corpus
from ser_core.errors import CorpusError
from ser_lab.fetch.transfer import Remote, read_json

BOREALIS = "https://borealisdata.ca"
"""The Dataverse that holds TESS. Its listing of files and its downloads are those of Dataverse's
API guide, in use for other data sets of the same host; TESS by its DOI, too."""
GITHUB_API = "https://api.github.com"
"""Its listing of CREMA-D's tree is in wide use."""
GITHUB_RAW = "https://raw.githubusercontent.com"
"""Serves what is no LFS object: CREMA-D's tables. VideoDemographics.csv was seen in use; that
tabulatedVotes.csv lies beside it in the repository was seen, too."""
GITHUB_MEDIA = "https://media.githubusercontent.com/media"
"""Serves LFS objects: CREMA-D's clips, in wide use."""
KAGGLE = "https://www.kaggle.com"
"""Its download of JL-Corpus without an account was seen in use; Kaggle may ask for one."""

TESS_DOI = "doi:10.5683/SP2/E8H2MF"
CREMA_D_REPOSITORY, CREMA_D_BRANCH = "CheyneyComputerScience/CREMA-D", "master"
CREMA_D_TABLES = ("VideoDemographics.csv", "processedResults/tabulatedVotes.csv")
"""What `ser_lab.data.crema_d` reads beside the clips."""
_KINDS = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
"""Checksums that a Dataverse may state."""


@dataclass(frozen=True, slots=True)
class Source:
    """How one corpus is had.

    Attributes:
        corpus: Which.
        folder: Where it is put, below the data folder.
        list_files: Asks what files there are; None where the publisher gives them out on
            request only.
        checksums: What is known of the files' hashes, in words.
        about_bytes: Size of the download, roughly, where the listing does not tell.
    """

    corpus: Corpus
    folder: str
    list_files: Callable[[requests.Session], list[Remote]] | None
    checksums: str
    about_bytes: int = 0

    def describe(self) -> str:
        """Title, source, licence, whom to cite and what is known of checksums, a line each."""
        return "\n".join(
            (
                f"{self.corpus.name}: {self.corpus.title}",
                f"  source    {self.corpus.source}",
                f"  licence   {self.corpus.licence}",
                f"  cite      {self.corpus.citation}",
                f"  checksums {self.checksums}",
            )
        )


def find_source(name: str) -> Source:
    """How a corpus is had.

    Args:
        name: Its name.

    Raises:
        CorpusError: There is no corpus of that name.
    """
    if name not in SOURCES:
        raise CorpusError(f"{name!r} is not a corpus; known: {', '.join(SOURCES)}.")
    return SOURCES[name]


def _archives(corpus: Corpus) -> Callable[[requests.Session], list[Remote]]:
    """The archives that a corpus itself names. Zenodo's addresses, in wide use, and its MD5."""

    def list_files(_: requests.Session) -> list[Remote]:
        return [
            Remote(archive.url, PurePosixPath(archive.url).name, f"md5:{archive.md5}")
            for archive in corpus.archives
        ]

    return list_files


def list_tess(session: requests.Session) -> list[Remote]:
    """Ask the Dataverse for TESS's files.

    Args:
        session: Who asks.

    Raises:
        CorpusError: It cannot be reached, or answers otherwise than expected.

    Source: Dataverse's guides to its Native API, files of a dataset, and its Data Access API.
    """
    url = f"{BOREALIS}/api/datasets/:persistentId/versions/:latest/files?persistentId={TESS_DOI}"
    answer = read_json(session, url)
    try:
        files = [row["dataFile"] for row in answer["data"]]
        remotes = [
            Remote(
                url=f"{BOREALIS}/api/access/datafile/{file['id']}",
                name=file["filename"],
                checksum=f"{_KINDS[file['checksum']['type']]}:{file['checksum']['value']}",
                n_bytes=file["filesize"],
            )
            for file in files
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise _unexpected(url, error) from error
    wanted = AUDIO_SUFFIXES | {".zip"}
    return [r for r in remotes if PurePosixPath(r.name).suffix.lower() in wanted]


def list_crema_d(session: requests.Session) -> list[Remote]:
    """Ask GitHub for CREMA-D's clips and tables.

    Git knows a clip by the hash of its LFS pointer, which follows from the clip itself.

    Args:
        session: Who asks.

    Raises:
        CorpusError: It cannot be reached, or answers otherwise than expected.

    Source: GitHub's REST API, trees; the specification of Git LFS pointers.
    """
    url = f"{GITHUB_API}/repos/{CREMA_D_REPOSITORY}/git/trees/{CREMA_D_BRANCH}?recursive=1"
    answer = read_json(session, url)
    try:
        if answer.get("truncated"):
            raise CorpusError(f"{url} lists only some of the files. Clone {CREMA_D.source}.")
        return list(_crema_d_files((str(row["path"]), row["sha"]) for row in answer["tree"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise _unexpected(url, error) from error


def _crema_d_files(tree: Iterator[tuple[str, str]]) -> Iterator[Remote]:
    for path, sha1 in tree:
        place = f"{CREMA_D_REPOSITORY}/{CREMA_D_BRANCH}/{path}"
        if path.startswith("AudioWAV/") and path.endswith(".wav"):
            yield Remote(f"{GITHUB_MEDIA}/{place}", path, f"lfs:{sha1}")
        elif path in CREMA_D_TABLES:
            yield Remote(f"{GITHUB_RAW}/{place}", path, f"git:{sha1}")


def list_jl_corpus(_: requests.Session) -> list[Remote]:
    """Kaggle's one archive; no hash of it is published."""
    return [Remote(f"{KAGGLE}/api/v1/datasets/download/tli725/jl-corpus", "jl-corpus.zip")]


def _unexpected(url: str, error: Exception) -> CorpusError:
    return CorpusError(
        f"{url} gave an unexpected answer ({type(error).__name__}: {error}). "
        'Download the corpus yourself, and install it with "data place".'
    )


CREMA_D = CORPORA["crema-d"]
_ZENODO = "MD5, stated by Zenodo"
SOURCES: dict[str, Source] = {
    source.corpus.name: source
    for source in (
        Source(CORPORA["ravdess"], "ravdess", _archives(CORPORA["ravdess"]), _ZENODO),
        Source(
            CORPORA["ravdess-song"], "ravdess_song", _archives(CORPORA["ravdess-song"]), _ZENODO
        ),
        Source(CORPORA["tess"], "tess", list_tess, "of each file, stated by the Dataverse"),
        Source(CREMA_D, "crema_d", list_crema_d, "of each file, from Git", about_bytes=650_000_000),
        Source(CORPORA["savee"], "savee", None, "none published"),
        Source(
            CORPORA["jl-corpus"],
            "jl_corpus",
            list_jl_corpus,
            "none published; the archive's own CRC of each file is checked",
        ),
        Source(CORPORA["emo-db"], "emo_db", _archives(CORPORA["emo-db"]), _ZENODO),
    )
}
"""By corpus."""
