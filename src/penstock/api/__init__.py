"""HTTP endpoints: liveness, metrics, and the control socket."""
