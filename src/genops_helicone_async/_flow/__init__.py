"""The life of a request, one file per step: admit, route, attempt, failover, stream, settle."""
