"""What networks are trained to say: labels of a picture as maps, a file a paper."""
