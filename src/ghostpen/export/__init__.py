"""A finished run as other programs load it: adapter, merged checkpoint, GGUF, Ollama; with a model card."""
