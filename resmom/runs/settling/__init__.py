"""From what was asked to a run that can start: settings derived, tried on this machine, fitted to time and memory."""
