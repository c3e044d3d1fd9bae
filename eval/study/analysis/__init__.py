"""What the votes say: screening, scores, agreement, equal quality, metrics, the report; and simulated raters."""
