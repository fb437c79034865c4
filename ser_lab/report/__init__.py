"""Pages, charts and model cards from committed records."""
