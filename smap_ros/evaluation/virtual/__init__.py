"""Protocol ``virtual``: rendered people with exact truth."""
