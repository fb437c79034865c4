"""Networks, training loops, calibration and export."""
