"""report.html: what a run found, drawn from run.json alone."""
