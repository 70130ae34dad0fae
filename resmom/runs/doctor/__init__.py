"""Is this machine ready, and if not, what to do? For every topic a probe that gathers facts, and pure rules on these.

A rule is called `judge_…` and can be tried on made-up facts. Nothing here imports torch, or any other package that may
be broken, before a probe that is meant to find that out.
"""
