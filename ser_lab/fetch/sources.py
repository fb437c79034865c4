"""Download sources of the corpora: the publishers' files, with the hashes they publish.

The comment beside each address says whether it is in use elsewhere or follows from documentation
alone; none could be tried where this was written.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import requests

from ser_core.corpora import AUDIO_SUFFIXES, CORPORA, CREMA_D, Corpus
from ser_core.errors import CorpusError
from ser_lab.fetch.transfer import Remote, read_json

BOREALIS = "https://borealisdata.ca"
"""Dataverse that holds TESS. Listing and downloads follow Dataverse's API guide and are in use for
other data sets of the same host, and for TESS by its DOI."""
GITHUB_API = "https://api.github.com"
"""Lists CREMA-D's tree; in wide use."""
GITHUB_RAW = "https://raw.githubusercontent.com"
"""Serves files outside LFS, CREMA-D's tables; VideoDemographics.csv is in use, and
tabulatedVotes.csv lies beside it in the repository."""
GITHUB_MEDIA = "https://media.githubusercontent.com/media"
"""Serves LFS objects, CREMA-D's clips; in wide use."""
KAGGLE = "https://www.kaggle.com"
"""Serves JL-Corpus; in use without an account, which Kaggle may come to require."""

TESS_DOI = "doi:10.5683/SP2/E8H2MF"
CREMA_D_REPOSITORY, CREMA_D_BRANCH = "CheyneyComputerScience/CREMA-D", "master"
CREMA_D_TABLES = ("VideoDemographics.csv", "processedResults/tabulatedVotes.csv")
"""Tables that `ser_lab.data.tables` reads beside the clips."""
_KINDS = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
"""Names of hashes in a Dataverse's listing, as hashlib has them."""

ListFiles = Callable[[requests.Session], list[Remote]]


@dataclass(frozen=True, slots=True)
class Source:
    """Download source of one corpus.

    Attributes:
        corpus: The corpus.
        list_files: Lists the publisher's files; None where they are available on request only.
        checksums: Which hashes of the files are published, in words.
        about_bytes: Rough size of the download, where the listing has no sizes.
    """

    corpus: Corpus
    list_files: ListFiles | None
    checksums: str
    about_bytes: int = 0

    @property
    def folder(self) -> str:
        """Name of the folder, below the data folder, that it is installed in."""
        return PurePosixPath(self.corpus.folders[0]).parts[0]

    def describe(self) -> str:
        """Return title, source, licence, citation and published checksums, a line each."""
        return (
            f"{self.corpus.name}: {self.corpus.title}\n"
            f"  source    {self.corpus.source}\n"
            f"  licence   {self.corpus.licence}\n"
            f"  cite      {self.corpus.citation}\n"
            f"  checksums {self.checksums}"
        )


def find_source(name: str) -> Source:
    """Return the source of a corpus.

    Raises:
        CorpusError: There is no corpus of that name.
    """
    if name not in SOURCES:
        raise CorpusError(f"{name!r} is not a corpus; known: {', '.join(SOURCES)}.")
    return SOURCES[name]


def list_tess(session: requests.Session) -> list[Remote]:
    """List TESS's clips, as its Dataverse has them.

    Raises:
        CorpusError: The Dataverse cannot be reached, or answers otherwise than documented.

    Source: Dataverse's guides to its Native API, files of a dataset, and its Data Access API.
    """
    url = f"{BOREALIS}/api/datasets/:persistentId/versions/:latest/files?persistentId={TESS_DOI}"
    answer = read_json(session, url)
    try:
        remotes = [
            Remote(
                url=f"{BOREALIS}/api/access/datafile/{file['id']}",
                name=file["filename"],
                checksum=f"{_KINDS[file['checksum']['type']]}:{file['checksum']['value']}",
                n_bytes=file["filesize"],
            )
            for file in (row["dataFile"] for row in answer["data"])
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise _unexpected(url, error) from error
    suffixes = AUDIO_SUFFIXES | {".zip"}
    return [r for r in remotes if PurePosixPath(r.name).suffix.lower() in suffixes]


def list_crema_d(session: requests.Session) -> list[Remote]:
    """List CREMA-D's clips and tables, as GitHub has them.

    Git identifies a clip by the hash of its LFS pointer, which follows from the clip itself.

    Raises:
        CorpusError: GitHub cannot be reached, or answers otherwise than documented.

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
        location = f"{CREMA_D_REPOSITORY}/{CREMA_D_BRANCH}/{path}"
        if path.startswith("AudioWAV/") and path.endswith(".wav"):
            yield Remote(f"{GITHUB_MEDIA}/{location}", path, f"lfs:{sha1}")
        elif path in CREMA_D_TABLES:
            yield Remote(f"{GITHUB_RAW}/{location}", path, f"git:{sha1}")


def list_jl_corpus(_: requests.Session) -> list[Remote]:
    """Return Kaggle's one archive, of which no hash is published."""
    return [Remote(f"{KAGGLE}/api/v1/datasets/download/tli725/jl-corpus", "jl-corpus.zip")]


def _unexpected(url: str, error: Exception) -> CorpusError:
    return CorpusError(
        f"{url} gave an unexpected answer ({type(error).__name__}: {error}). "
        'Download the corpus yourself, and install it with "data place".'
    )


def _zenodo(name: str) -> Source:
    """Return a corpus that names its archives; Zenodo's addresses are in wide use."""
    corpus = CORPORA[name]
    remotes = [Remote(a.url, PurePosixPath(a.url).name, f"md5:{a.md5}") for a in corpus.archives]
    return Source(corpus, lambda _: remotes, "MD5, stated by Zenodo")


SOURCES: dict[str, Source] = {
    source.corpus.name: source
    for source in (
        _zenodo("ravdess"),
        _zenodo("ravdess-song"),
        Source(CORPORA["tess"], list_tess, "of each file, stated by the Dataverse"),
        Source(CREMA_D, list_crema_d, "of each file, from Git", about_bytes=650_000_000),
        Source(CORPORA["savee"], None, "none published"),
        Source(
            CORPORA["jl-corpus"],
            list_jl_corpus,
            "none published; the archive's own CRC of each file is checked",
        ),
        _zenodo("emo-db"),
        *(
            Source(CORPORA[name], None, "none published")
            for name in ("nemo", "ased", "turev", "korean", "emospeech")
        ),
    )
}
"""By corpus."""
