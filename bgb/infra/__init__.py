"""Rented machines: the Modal app, what runs in its containers, and what starts and watches them.

`modal` is imported inside functions only, so that a command without `+infra` never loads it.
"""
