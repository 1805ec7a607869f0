"""Readers: from files as they are published to one cleaned table of interactions."""
