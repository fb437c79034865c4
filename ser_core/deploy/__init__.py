"""Uploads to the Hugging Face Hub: the app as a Space, and model folders as repositories."""
