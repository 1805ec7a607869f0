"""Algorithms, both halves (store and coordinator) side by side."""
