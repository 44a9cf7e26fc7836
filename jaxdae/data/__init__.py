"""Where images come from: named datasets, one's own pictures, sources for training."""

from jaxdae.data.datasets import DATASETS, ImageData, load
from jaxdae.data.own import Data, OwnPictures, load_again, read_own
from jaxdae.data.source import InMemory, Sample, Source
