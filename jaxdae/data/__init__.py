"""Where images come from: named datasets, sources for training, picture files."""

from jaxdae.data.datasets import DATASETS, ImageData, load
from jaxdae.data.source import InMemory, Sample, Source
