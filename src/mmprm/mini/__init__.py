"""The mini world: drawn problems, a small base model that is taught to read them, and the truth of each step."""
