"""What stores, coordinator and auditor must agree on."""
