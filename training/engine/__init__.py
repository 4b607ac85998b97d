"""What trains any recipe: one loop that stops anywhere and goes on exactly, on one device or many.

A run is a configuration (:mod:`.config`) of a recipe (:mod:`smap_train.recipes`). Sample k of the
run is drawn by its own random generator (:mod:`.sampling`), so the order of samples follows from
the step alone: not from the number of devices, nor from where a run was stopped.
"""
