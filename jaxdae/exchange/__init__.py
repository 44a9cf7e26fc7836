"""What comes in and goes out: picture files, packaged denoisers."""

from jaxdae.exchange.packaged import load_denoiser, save_packaged
