"""The store's side."""
