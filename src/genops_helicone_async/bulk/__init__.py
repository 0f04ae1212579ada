"""Bulk jobs: a file of requests in, a file of answers out, every row exactly once."""
