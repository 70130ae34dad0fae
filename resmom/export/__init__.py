"""Files for other tools: the backbone alone, and a card that says what it is."""
