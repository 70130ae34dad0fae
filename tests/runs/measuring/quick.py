"""A linear probe that takes a moment."""

from resmom.evaluate.settings import Linear

QUICK = Linear(lrs=(0.03,), weight_decays=(0.0,), epochs=2)
