"""Checksums as publishers state them.

`md5:…`, `sha1:…` or `sha256:…` is that of the file. `git:…` is the SHA-1 by which Git knows the
file, and `lfs:…` the one by which it knows the file's LFS pointer. Nothing stands for none.
"""

import hashlib
from pathlib import Path

GIT_KINDS = ("git:", "lfs:")
_LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"


def matches(path: Path, checksum: str) -> bool:
    """Whether a file is what its checksum says; without a checksum every file is.

    Args:
        path: The file.
        checksum: Kind and hexadecimal digits, or nothing.
    """
    kind, _, expected = checksum.partition(":")
    if not kind:
        return True
    with path.open("rb") as file:
        if kind == "git":
            return _git_sha1(file.read()) == expected
        if kind == "lfs":
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            pointer = _LFS_POINTER.format(sha256=sha256, size=path.stat().st_size)
            return _git_sha1(pointer.encode()) == expected
        return hashlib.file_digest(file, kind).hexdigest() == expected


def _git_sha1(content: bytes) -> str:
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest()
