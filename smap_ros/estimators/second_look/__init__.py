"""A second look at each person: a crop of them through a small network, beside the first look."""
