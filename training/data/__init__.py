"""Data sets and what the networks are taught from them."""
