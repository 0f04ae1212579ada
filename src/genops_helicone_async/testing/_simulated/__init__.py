"""The simulated providers: what they sell, say, charge and how they word it."""
