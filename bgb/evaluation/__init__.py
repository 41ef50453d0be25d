"""Evaluation: series, events and scores of whole recordings. The public face is `score_szcore`."""

from bgb.evaluation.szcore import Scores, SzcoreScores, score_szcore

__all__ = ["Scores", "SzcoreScores", "score_szcore"]
