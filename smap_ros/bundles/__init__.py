"""Model bundles: a folder with ``bundle.yaml`` and the networks it names."""
