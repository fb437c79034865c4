"""Whisper: its constants, its weights and its encoder in Keras."""
