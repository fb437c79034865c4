"""Protocols run, recorded and summarised; figures of shipped models."""
