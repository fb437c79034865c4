"""Check the links of a built site.

python -m tools.links site
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Links(HTMLParser):
    """The links and the anchors of a page.

    Attributes:
        links: Targets of its links and images.
        anchors: Ids and names of its elements.
    """

    def __init__(self, text: str) -> None:
        """Parse the HTML of a page."""
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the links and anchors of a tag."""
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.links.add(value)
            if value and name in ("id", "name"):
                self.anchors.add(value)


def broken_links(site: Path) -> list[str]:
    """Return the broken links inside a site, each with its page."""
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
    """Print the broken links, and exit with 1 if there are any."""
    broken = broken_links(Path(sys.argv[1]).resolve())
    print("\n".join(broken) or "No broken links.")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
