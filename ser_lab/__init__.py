"""Corpora, splits, features, networks, training, figures: all that serving never loads."""
