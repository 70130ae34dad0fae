"""What other tools read of a run while it trains: the lines of metrics.jsonl, which stay the truth, in their forms."""
