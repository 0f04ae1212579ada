"""Bytes to models and back: headers, request and reply shapes, dialects, SSE, failures. No I/O."""
