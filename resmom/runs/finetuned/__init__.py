"""Networks trained from a run's backbone: detectors, and segmentation networks."""
