"""The base model: where it lies, what it contains, how it is loaded and adapted."""
