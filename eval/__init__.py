"""The evaluation suite: measures, baselines, curves, report, study."""
