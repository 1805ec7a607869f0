"""Secure aggregation SA1: the coordinator learns a sum over at least h honest stores, or nothing."""
