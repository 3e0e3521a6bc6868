"""mmprm: process reward models for multimodal mathematical reasoning, from problems to a Best-of-N report."""

__version__ = "0.1.0"
