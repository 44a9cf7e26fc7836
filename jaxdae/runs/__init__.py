"""The shell around training: the loop, run folders, checkpoints, signals, figures."""

from jaxdae.runs.loop import Loop, resume, train
from jaxdae.runs.run import Run, load_run
from jaxdae.runs.signals import Interrupted
