"""Hydra finds `bgb_modal` here: a launcher that sends each job of a multirun to a Modal container.

    python my_app.py -m hydra/launcher=bgb_modal hydra.launcher.gpu=L4 lr=1e-4,3e-4

Its keys are those of `bgb.config.infra.InfraConfig`. Imported at every start of every Hydra
program, so nothing heavy is imported here.
"""
