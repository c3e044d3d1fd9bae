"""From records to conclusions: means, deltas, tables, plots, the page."""
