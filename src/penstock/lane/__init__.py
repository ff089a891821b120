"""Delivery: the owner of paths, their queues and connections."""
