"""Protocol ``mot``: people labelled by boxes in the MOTChallenge format."""
