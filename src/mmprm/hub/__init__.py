"""What leaves a run for the Hugging Face hub: front matter and licences, exported folders, uploads."""
