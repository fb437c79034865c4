"""The systems that this project grew from, run again under one roof.

`recipes` says what each paper did, `run` does it, `report` writes what came of it beside
what the paper printed.
"""
