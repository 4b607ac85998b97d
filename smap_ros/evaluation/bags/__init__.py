"""The test engineer's report on a bag."""
