"""What networks are trained to lower: a file a paper, with its official weights."""
