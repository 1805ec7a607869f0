"""Many stores on one machine, beside honest baselines."""
