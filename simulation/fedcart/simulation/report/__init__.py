"""report.html: what a run found, drawn from run.json alone.

run_file (read) → methods, sentences, facts (words) and figures (SVG) → page (one self-contained file).
Nothing here computes a result: every number on the page is a number of run.json or arithmetic on two of them.
"""

from fedcart.simulation.report.page import write_report
from fedcart.simulation.report.sentences import headline

__all__ = ["headline", "write_report"]
