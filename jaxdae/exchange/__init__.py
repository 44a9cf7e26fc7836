"""What comes in and goes out: picture files, saved and packaged denoisers."""

from jaxdae.exchange.packaged import load_denoiser
from jaxdae.exchange.saved import Card, load_card, save_denoiser
