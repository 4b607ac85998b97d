"""The learned smoother: MAED's attention on skeletons, online."""
