"""The Gradio page: one module a panel, with its own static files."""
