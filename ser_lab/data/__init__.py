"""Tables of clips, protocols and splits, features and encoder vectors, augmentation."""
