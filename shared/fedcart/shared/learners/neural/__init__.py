"""The learners that need torch: mf and ncf."""
