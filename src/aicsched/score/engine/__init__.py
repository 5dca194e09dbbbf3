"""The score of many pods on many nodes at once."""

from aicsched.score.engine.columns import NodeColumns, PodColumns
from aicsched.score.engine.engine import Best, ScoreEngine
from aicsched.score.engine.terms import TERM_NAMES, PairTerms

__all__ = ["TERM_NAMES", "Best", "NodeColumns", "PairTerms", "PodColumns", "ScoreEngine"]
