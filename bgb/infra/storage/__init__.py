"""What is stored where: `store` lists files, `survey` says what they are, `complete` compares with
the corpus, `probe` measures, `remote` looks from inside a container, `draw` shows it.

Nothing is created or deleted, and a place that cannot be read is an answer, not the end.
"""
