"""The look of the page: Gradio's theme, the style sheet for our own HTML, and the pictures."""

from html import escape
from pathlib import Path

import gradio as gr
from gradio.themes.utils import colors

STYLE_SHEET = Path(__file__).with_name("page.css")
EARLY_SHEET = Path(__file__).with_name("early.css")
SCRIPTS = tuple(
    Path(__file__).with_name(f"{name}.js") for name in ("page", "player", "focus", "card", "early")
)
CARD = Path(__file__).with_name("card.png")
FAVICON = Path(__file__).with_name("favicon.svg")

# System fonts only: the page loads nothing from other hosts.
FONT = ("-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
FONT_MONO = ("ui-monospace", "Menlo", "Consolas", "Liberation Mono", "monospace")

LAGOON = colors.Color(
    "#eef7f6", "#dbeeec", "#b7dcd9", "#8fd3cf", "#5fb3b1", "#2f8a8c",
    "#1d6a72", "#18575e", "#15474d", "#133a40", "#0c2529", name="lagoon",
)  # fmt: skip
STONE = colors.Color(
    "#f6f4ef", "#eeebe4", "#e2ddd3", "#cbc5b9", "#9a968d", "#6c6a66",
    "#53524f", "#3a3b3c", "#282b2d", "#1c1f21", "#131617", name="stone",
)  # fmt: skip

COLOURS = {
    "body_background_fill": ("*neutral_50", "*neutral_950"),
    "body_text_color": ("*neutral_800", "*neutral_100"),
    "body_text_color_subdued": ("*neutral_500", "*neutral_400"),
    "block_background_fill": ("#fffefb", "*neutral_900"),
    "block_border_color": ("*neutral_200", "*neutral_800"),
    "block_label_text_color": ("*neutral_600", "*neutral_300"),
    "border_color_primary": ("*neutral_200", "*neutral_800"),
    "button_primary_background_fill": ("*primary_600", "*primary_300"),
    "button_primary_background_fill_hover": ("*primary_700", "*primary_200"),
    "button_primary_text_color": ("white", "*primary_950"),
    "color_accent_soft": ("*primary_100", "*primary_900"),
    "link_text_color": ("*primary_700", "*primary_300"),
    "link_text_color_hover": ("*primary_800", "*primary_200"),
    "link_text_color_visited": ("*primary_700", "*primary_300"),
}
"""Colours by day and by night."""


def build_theme() -> gr.themes.Base:
    """Return the theme: warm paper by day, ink by night, one calm accent."""
    return gr.themes.Base(
        primary_hue=LAGOON,
        secondary_hue=LAGOON,
        neutral_hue=STONE,
        radius_size=gr.themes.sizes.radius_lg,
        spacing_size=gr.themes.sizes.spacing_lg,
        text_size=gr.themes.sizes.text_md,
        font=FONT,
        font_mono=FONT_MONO,
    ).set(
        block_radius="18px",
        block_shadow="0 1px 2px rgb(40 43 45 / 0.05)",
        button_large_radius="12px",
        color_accent="*primary_600",
        loader_color="*primary_500",
        **{name: light for name, (light, _) in COLOURS.items()},
        **{f"{name}_dark": dark for name, (_, dark) in COLOURS.items()},
    )


def social_card(title: str, description: str, address: str) -> str:
    """Return the page's address, and the meta tags of a link's preview.

    Args:
        title: Title of the page.
        description: A sentence about it.
        address: Its address; without one the preview has no picture.
    """
    tags = {
        "og:type": "website",
        "og:title": title,
        "og:description": description,
        "twitter:title": title,
        "twitter:description": description,
    }
    link = ""
    if address:
        picture = f"{address}gradio_api/file={CARD}"
        tags |= {"og:url": address, "og:image": picture, "twitter:image": picture}
        tags["twitter:card"] = "summary_large_image"
        link = f'<link rel="canonical" href="{escape(address)}">'
    return link + "".join(
        f'<meta property="{name}" content="{escape(text)}">' for name, text in tags.items()
    )


def early_style() -> str:
    """Return the style sheet of what shows before Gradio is there, as an element."""
    return f"<style>{EARLY_SHEET.read_text(encoding='utf-8')}</style>"


def script() -> str:
    """Return the page's own JavaScript as an element."""
    return f"<script>{''.join(path.read_text(encoding='utf-8') for path in SCRIPTS)}</script>"
