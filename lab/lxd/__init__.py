"""LXD: the door to its API, what the lab's things are called there, and those it owns."""
