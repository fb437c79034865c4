"""Whisper tiny.en: its front end, its weights and its encoder in Keras."""
