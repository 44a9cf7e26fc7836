"""Measuring denoisers: levels x members x images, validation."""

from jaxdae.evaluation.measure import evaluate, measure
from jaxdae.evaluation.validation import sample_images, validate
