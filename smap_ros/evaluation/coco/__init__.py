"""COCO keypoints: people in photos, measured by pycocotools."""
