"""The learned smoother: recorded detections, network, training, export."""
