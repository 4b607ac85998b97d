"""What protocols share: predictions, metrics, reports, pictures."""
