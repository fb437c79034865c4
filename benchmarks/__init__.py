"""Speed, load, scoring and fuzzing: run by make, not by pytest."""
