"""What a person sees of a run on the terminal: a status line a stage, and what it came to at the end."""
