"""Zips unpacked whole or not at all, and never outside their folder."""

import stat
import zipfile
from pathlib import Path, PurePosixPath

from rich.progress import track

from ser_core.errors import CorpusError
from ser_core.training.fetch.transfer import check_space
from ser_core.zips import UNREADABLE, is_clutter


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip under its members' own names.

    Args:
        archive: The zip.
        folder: Where its members go; made if need be.

    Raises:
        CorpusError: It is no zip or a damaged one, a member leads out of the folder or is a
            link, or the disk has no room. What was unpacked by then stays in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not is_clutter(member)]
            for member in members:
                _check_member(member, archive)
            check_space(folder, sum(member.file_size for member in members))
            for member in track(members, f"Unpacking {archive.name}"):
                opened.extract(member, folder)
    except UNREADABLE as error:
        raise CorpusError(f"{archive} cannot be unpacked: {error}. Download it again.") from error


def _check_member(member: zipfile.ZipInfo, archive: Path) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    outside = name.is_absolute() or ".." in name.parts or ":" in member.filename.partition("/")[0]
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        raise CorpusError(
            f"{archive} contains {member.filename!r}, which leads out of the folder that it is "
            "unpacked into. Nothing was unpacked; download the corpus from its publisher."
        )
