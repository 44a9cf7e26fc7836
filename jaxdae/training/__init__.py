"""Training as pure functions: members, their optimizers, one step, and the compiled program that takes many steps."""

from jaxdae.training.epoch import Best, Plan, epoch_losses, finish_epoch, initial_states, train_chunk, trained_params
from jaxdae.training.member import Group, Member, check_member, default_member, grid, group_members, labels, stack
from jaxdae.training.presets import PRESETS, Preset
from jaxdae.training.step import TrainState, train_step
