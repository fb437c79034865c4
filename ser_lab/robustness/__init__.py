"""How answers stand changed sound, sound that is no speech, calm reading, and different people."""

from ser_lab.robustness.measure import measure_robustness, write_robustness

__all__ = ["measure_robustness", "write_robustness"]
