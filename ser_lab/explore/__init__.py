"""Corpora as tables, charts and one self-contained page."""

from ser_lab.explore.survey import explore

__all__ = ["explore"]
