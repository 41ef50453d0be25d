"""What `python -m bgb.runs` knows of finished and unfinished runs: `record` reads one folder,
`find` all of them, `table` lists, `compare` sets two beside each other, `prune` removes.

Everything is read from the files of the run folder, as plain values: runs of older versions are
listed, too, and nothing here imports torch.
"""
