"""Methods that see all data (or only one store's), for comparison."""
