"""Any recording, or an array, as one mono waveform at one rate."""
