"""A store's own data: read by rule, kept in its folder, mapped to the coalition's item list, looked at before a run."""
