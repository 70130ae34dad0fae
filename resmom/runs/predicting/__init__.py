"""Trained networks on other images: detections, masks and classes, written as they are found."""
