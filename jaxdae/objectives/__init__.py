"""Objectives: what a network is trained to do with an example.

An objective is a component with the name of its `loss` and three pure functions: `example` makes one training example
by its named draws, `losses` compares a batch of them with the network's predictions, `check` completes it for a model
and refuses what cannot work. Each image's loss is its (weighted) mean over pixels and channels; the step averages over
images.
"""

from jaxdae.objectives.example import Example, Predict
from jaxdae.objectives.noise2noise import Noise2Noise
from jaxdae.objectives.supervised import Supervised

OBJECTIVES: dict[str, type] = {"supervised": Supervised, "noise2noise": Noise2Noise}
