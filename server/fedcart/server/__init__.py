"""The coordinator's side."""
