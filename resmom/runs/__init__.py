"""Whole jobs, one function each: what the command line, Python and the demonstration all call."""
