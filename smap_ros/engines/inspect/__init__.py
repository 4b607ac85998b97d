"""What a network's file holds, and what a runtime makes of it."""
