"""Check that every link inside a built site leads somewhere.

python -m tools.links site
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Links(HTMLParser):
    """The links and the anchors of a page.

    Attributes:
        links: What it refers to.
        anchors: What can be referred to in it.
    """

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag refers to, and what it is called."""
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.add(value)
            if value and name in ("id", "name"):
                self.anchors.add(value)


def broken_links(site: Path) -> list[str]:
    """Links within a site that lead nowhere, each with its page.

    Args:
        site: Folder of the site.
    """
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    broken = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            known = pages[target].anchors if target in pages else set()
            is_lost = parts.fragment and target in pages and unquote(parts.fragment) not in known
            if not target.is_file() or is_lost:
                broken.append(f"{path.relative_to(site)}: {link}")
    return broken


def main() -> None:
    """Name broken links, and end with 1 where there are some."""
    broken = broken_links(Path(sys.argv[1]).resolve())
    print("\n".join(broken) or "Every link leads somewhere.")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
