"""The world, one outside thing per file; no edge knows another."""
