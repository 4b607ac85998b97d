"""What refining networks learn from: people as a bundle finds them, beside the truth."""
