"""Model folders: their manifest, their layers, and how one becomes a callable."""
