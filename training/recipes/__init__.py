"""What can be trained: a file a recipe, and a registry that imports none before it is asked for."""
