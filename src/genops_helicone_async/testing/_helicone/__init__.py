"""What Helicone does between caller and provider: its dialects, features and quirks, as they were recorded."""
