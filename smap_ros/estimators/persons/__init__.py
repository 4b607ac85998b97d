"""Second stages: networks that look at people whom another bundle finds."""
