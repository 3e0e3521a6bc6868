"""Step labels that a judging model agrees with (`labels.consensus`). Never the default."""
