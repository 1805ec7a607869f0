"""A store in a coalition: joining, fetching plans, approving them, taking part in runs."""
