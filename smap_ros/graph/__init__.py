"""The node graph as data, and what starts it."""
