"""Settings for small sets: enough steps, and nothing that was typed is changed."""

import itertools

import pytest

from jaxdae.training.small_sets import BATCH_SIZE, EPOCHS, MIN_STEPS, Settings, Typed, suggest_settings


def steps(settings, patches):
    examples = patches * settings.coverage
    return settings.epochs * -(-examples // min(settings.batch_size, examples))


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("side", [16, 64, 256])
def test_every_set_is_trained_for_enough_steps_and_not_many_times_more(side, repeatable):
    for patches in (1, 2, 7, 70, 128, 999, 2000, 5000, 7552):
        settings = suggest_settings(patches, side, Typed(), repeatable=repeatable)
        least = MIN_STEPS if patches * EPOCHS > MIN_STEPS * settings.batch_size else settings.epochs
        assert MIN_STEPS <= steps(settings, patches) <= 2.1 * MIN_STEPS + least
        assert settings.epochs == EPOCHS or not repeatable
        assert settings.coverage == 1 or repeatable


def test_two_pages_get_the_settings_of_the_documentation():
    assert suggest_settings(70, 64, Typed()) == Settings(10, 16, 14, "one_cycle", 0.99)


def test_a_set_that_the_defaults_train_enough_keeps_them():
    assert suggest_settings(59 * BATCH_SIZE + 1, 64, Typed()) is None
    assert suggest_settings(59 * BATCH_SIZE + 1, 64, Typed(epochs=1)) is None
    assert suggest_settings(59 * BATCH_SIZE, 64, Typed()) is not None


def test_what_was_typed_is_kept():
    choices = ((None, 3, 40), (None, 4, 128), (None, 1, 3), (False, True), (False, True))
    for typed in itertools.starmap(Typed, itertools.product(*choices)):
        settings = suggest_settings(70, 64, typed)
        if settings is None:  # the defaults beside what was typed
            continue
        for name in ("epochs", "batch_size", "coverage"):
            assert getattr(typed, name) in (None, getattr(settings, name))
        assert settings.schedule is None or not typed.schedule
        assert settings.ema_decay is None or not (typed.ema_decay or typed.schedule)
        if typed.epochs is None:
            assert steps(settings, 70) >= MIN_STEPS


def test_nothing_is_suggested_where_everything_was_typed():
    assert suggest_settings(70, 64, Typed(2, 4, 1, schedule=True)) is None


def test_few_epochs_stay_short():
    short, usual = (suggest_settings(70, 64, Typed(epochs=epochs)) for epochs in (1, None))
    assert short.coverage == usual.coverage and steps(short, 70) * 10 == steps(usual, 70)


def test_large_patches_go_in_smaller_batches():
    sizes = [suggest_settings(10, side, Typed()).batch_size for side in (28, 64, 90, 128, 512)]
    assert sizes == [16, 16, 8, 4, 4]
