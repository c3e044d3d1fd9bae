"""The evaluation suite: measures, peers, curves, report, study."""
