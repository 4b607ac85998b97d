"""Protocol ``views``: the same people near, cut, far, turned, dark and smeared."""
