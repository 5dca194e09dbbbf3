"""Jobs that scale: more machines in clean hours, fewer or none in dirty ones, in one plan with the others."""

from __future__ import annotations

from aicsched.place.elastic.greedy import greedy_elastic
from aicsched.place.elastic.problem import ElasticProblem, build_elastic
from aicsched.place.elastic.solve import solve_elastic

__all__ = ["ElasticProblem", "build_elastic", "greedy_elastic", "solve_elastic"]
