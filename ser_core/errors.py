"""Errors that the caller can act on.

Each message says what was found, what was expected and what to do. The command line prints it
as one line and exits with 2; the page shows it as a sentence. Any other exception is a bug and
keeps its traceback.
"""


class SerError(Exception):
    """Root of the errors that this package raises on purpose."""


class AudioError(SerError):
    """A recording cannot be read, or breaks a limit of `AudioConfig`."""


class NoSpeechError(SerError):
    """A recording was read, but contains no speech."""


class ModelError(SerError):
    """A model folder is missing, incomplete, damaged or of another version."""


class CorpusError(SerError):
    """A corpus folder, its file names or a table of clips is not as documented."""


class MissingCorpusError(CorpusError):
    """A corpus is not in the data folder, or its folder holds none of its clips."""


class OutputError(SerError):
    """An output cannot be written, or would replace what this program did not write."""


class HubError(SerError):
    """The Hub rejects a request or cannot be reached, or a folder is not ready for it."""
