"""How the tables of history.py came about, step by step (Alembic); `History` takes the steps that are missing."""
