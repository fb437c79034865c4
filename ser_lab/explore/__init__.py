"""What a folder of corpora holds, as tables, figures and one page that needs nothing else."""

from ser_lab.explore.survey import explore

__all__ = ["explore"]
