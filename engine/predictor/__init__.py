"""Predictors: what a host's port asks what will be needed, and a small one that comes with it."""

from prefetch_scheduler.engine.predictor.builtin import BuiltinPredictor
from prefetch_scheduler.engine.predictor.protocol import Predictor, SessionPredictor

__all__ = ["BuiltinPredictor", "Predictor", "SessionPredictor"]
