"""The chain of the paper, small: photos without labels, pretraining, detectors fine-tuned on boxes."""
