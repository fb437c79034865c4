"""`python -m ser_core`."""

from ser_core.cli import app

if __name__ == "__main__":  # worker processes import this module, too
    app(prog_name="python -m ser_core")
