"""Measuring denoisers: levels x members x images, validation, classical baselines."""

from jaxdae.evaluation.measure import evaluate, measure
from jaxdae.evaluation.validation import validate
