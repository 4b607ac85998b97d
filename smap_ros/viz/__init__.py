"""Pictures of people: skeletons drawn on images, contact sheets, plots in metres."""
