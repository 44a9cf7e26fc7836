"""Measuring denoisers: levels x members x images, validation; and the noise level of pictures."""

from jaxdae.evaluation.measure import evaluate, measure
from jaxdae.evaluation.noise_level import Estimate, estimate_noise_level
from jaxdae.evaluation.validation import input_psnr, sample_images, validate
