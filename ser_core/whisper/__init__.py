"""Whisper tiny.en: its constants, its weights and its encoder in Keras."""
