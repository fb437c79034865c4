"""Predictions under changed audio, without speech, on calm reading and across people."""

from ser_lab.robustness.measure import measure_robustness, write_robustness

__all__ = ["measure_robustness", "write_robustness"]
