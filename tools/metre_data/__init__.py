"""Data that `tools/train_metre.py` learns from: scores, textures made of them, and their performance."""
