"""How fast and how wide: what a path's configuration allows."""
