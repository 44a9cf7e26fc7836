"""The `jaxdae` command: a thin shell over the library. Heavy imports happen inside the commands."""

import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs
import tyro

from jaxdae import __version__
from jaxdae.config import InputError, Preset, RunConfig, check_level, preset, require_name

if TYPE_CHECKING:
    from jaxdae.data import ImageData
    from jaxdae.runs import Run

WELCOME = """\
jaxdae trains denoising autoencoders and compares them across noise levels.

  jaxdae train                        train a denoiser on a small set of digits, about a minute
  jaxdae train --preset seed --out runs/seed
                                      the classic experiment (downloads MNIST)
  jaxdae train --preset fast --out runs/fast
                                      the same quality in three epochs
  jaxdae train --resume runs/seed     continue a run that was stopped
  jaxdae evaluate runs/seed           BCE, MSE, PSNR and SSIM of its models
  jaxdae plot runs/seed               draw its figures
  jaxdae denoise scan.png --out clean/
                                      clean pictures with the pretrained denoiser

`jaxdae COMMAND --help` explains the options of a command. Compiled programs are kept for the next start in the
user's cache folder; `jaxdae --no-cache COMMAND` does without."""

Checkpoint = Literal["last", "best"]


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """Where datasets lie."""

    manual_dir: Path | None = None
    """Folder with files downloaded by hand, in <folder>/<dataset>/. By default $JAXDAE_MANUAL_DIR."""
    data_dir: Path | None = None
    """Where downloads are kept. By default $TFDS_DATA_DIR or ~/tensorflow_datasets."""

    def load(self, dataset: str) -> "ImageData":
        """Loads a dataset from there."""
        from jaxdae.data import load

        return load(dataset, manual_dir=self.manual_dir, data_dir=self.data_dir)


@dataclasses.dataclass(frozen=True)
class ModelOptions:
    """Which model of a population."""

    model: int | None = None
    """Its position, from 0. By default the model nearest noise level 0.5 with the lowest seed."""
    checkpoint: Checkpoint = "last"
    """Its parameters after the last epoch, or after the one with the lowest validation loss."""


@dataclasses.dataclass(frozen=True)
class Train:
    """Train one denoiser for each noise level and seed, all in one program."""

    # No default: it would fix the learning rate before the optimizer is chosen.

    config: tyro.conf.OmitArgPrefixes[RunConfig]
    data: tyro.conf.OmitArgPrefixes[DataOptions] = dataclasses.field(default_factory=DataOptions)
    preset: Preset | None = None
    """Settings to begin with: the classic experiment (seed), or its quality in the least time (fast), on MNIST."""
    out: Path | None = None
    """Folder of the run. By default runs/<dataset>."""
    resume: Path | None = None
    """Continue the run in this folder; only --epochs may differ from what it was started with."""
    overwrite: bool = False
    """Replace the run that is in the folder."""
    progress: bool = True
    """Show a progress bar."""

    def __call__(self, arguments: Sequence[str]) -> int:
        """Trains and reports."""
        from jaxdae import run_folder, runs

        if self.resume:
            saved = run_folder.load_config(self.resume)
            epochs = self._epochs_to_resume(arguments, saved)
            run = runs.resume(self.resume, self.data.load(saved.dataset), epochs=epochs, progress=self.progress)
        else:
            config = self._on_top_of(preset(self.preset), arguments) if self.preset else self.config
            out = self.out or Path("runs") / config.dataset
            data = self.data.load(config.dataset)
            run = runs.train(config, data, out=out, overwrite=self.overwrite, progress=self.progress)
        return self._report(run)

    def _on_top_of(self, config: RunConfig, arguments: Sequence[str]) -> RunConfig:
        """Reads the options again, with a configuration in the place of the defaults."""
        default = dataclasses.replace(self, config=config)
        return tyro.cli(Train, args=arguments, default=default, prog="jaxdae train").config

    def _epochs_to_resume(self, arguments: Sequence[str], saved: RunConfig) -> int:
        """The number of epochs that is asked for; refuses options that differ from the saved ones."""
        if self.out or self.overwrite or self.preset:
            raise InputError("--resume names a run with its settings; leave out --out, --overwrite and --preset")
        given = self._on_top_of(saved, arguments)
        for field in dataclasses.fields(RunConfig):
            was, now = getattr(saved, field.name), getattr(given, field.name)
            if field.name != "epochs" and was != now:
                option = "--" + field.name.replace("_", "-")
                raise InputError(f"{option} {now} differs from the run's own {was}; leave it out or start another run")
        return given.epochs

    def _report(self, run: "Run") -> int:
        from jaxdae import reports

        number, data = run.member(), self.data.load(run.config.dataset)
        print(f"\n{run.describe(number)}, on {len(data.test)} test images:")
        reports.print_table(reports.evaluation_rows(run, data, [], "last", number))
        written = reports.write_figures(run, data)
        print(f"\nfigures     {', '.join(map(str, written))}")
        print(f"checkpoint  {reports.newest_checkpoint(run)}")
        for number in run.diverged:
            print(f"{run.describe(number)}: frozen, its loss was not finite; a lower --learning-rate may help")
        return 1 if run.diverged else 0


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Measure every model of a run, and the noisy images themselves, at every given noise level on the test images."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    noise_levels: tuple[float, ...] = ()
    """Test levels. By default those that the run was trained at."""
    json: bool = False
    """Print JSON instead of a table."""
    options: tyro.conf.OmitArgPrefixes[ModelOptions] = dataclasses.field(default_factory=ModelOptions)
    data: tyro.conf.OmitArgPrefixes[DataOptions] = dataclasses.field(default_factory=DataOptions)

    def __call__(self, arguments: Sequence[str]) -> int:
        """Evaluates and prints."""
        from jaxdae import reports, run_folder, runs

        run = runs.load_run(self.run)
        levels = [float(check_level(level, run.config.corruption)) for level in self.noise_levels]
        data = self.data.load(run.config.dataset)
        run_folder.check_images(self.run, data)
        rows = reports.evaluation_rows(run, data, levels, self.options.checkpoint, self.options.model)
        print(json.dumps(rows, indent=1)) if self.json else reports.print_table(rows)
        return 0


@dataclasses.dataclass(frozen=True)
class Plot:
    """Draw the figures of a run (loss curves, noisy and denoised images, feature maps), or again those of results."""

    run: tyro.conf.Positional[Path]
    """The run folder, or a results folder with a table."""
    layer: str = "encoder_0"
    """The layer whose feature maps are drawn: encoder_0, encoder_1, decoder_0, decoder_1 ..."""
    noise_level: float | None = None
    """Noise level of the images. By default the model's own."""
    options: tyro.conf.OmitArgPrefixes[ModelOptions] = dataclasses.field(default_factory=ModelOptions)
    data: tyro.conf.OmitArgPrefixes[DataOptions] = dataclasses.field(default_factory=DataOptions)

    def __call__(self, arguments: Sequence[str]) -> int:
        """Draws and names the files."""
        from jaxdae import reports, run_folder, runs, tables

        if (self.run / tables.LINES).exists():
            print(*reports.redraw_results(self.run), sep="\n")
            return 0
        if self.run.is_dir() and not (self.run / run_folder.CONFIG).exists():
            raise InputError(
                f"{self.run} holds neither a run ({run_folder.CONFIG}) nor a table of results ({tables.LINES})"
            )
        run = runs.load_run(self.run)
        number = run.member(self.options.model)
        print(run.describe(number, self.options.checkpoint))
        data = self.data.load(run.config.dataset)
        run_folder.check_images(self.run, data)
        written = reports.write_figures(
            run, data, model=number, checkpoint=self.options.checkpoint, layer=self.layer, noise_level=self.noise_level
        )
        for path in written:
            print(path)
        return 0


@dataclasses.dataclass(frozen=True)
class Denoise:
    """Remove the noise from pictures (PNG, JPEG, TIFF). Names and sizes stay; no noise is added unless asked."""

    pictures: tyro.conf.Positional[tuple[Path, ...]]
    """Files and folders."""
    out: Path
    """Folder for the results."""
    run: Path | None = None
    """The run whose model is used. By default the pretrained denoiser: MNIST, Gaussian noise of level 0.5."""
    invert: bool = False
    """Denoise the negative: for dark writing on a bright ground, where the model knows white on black."""
    add_noise: float | None = None
    """Add noise of this level first, to see what the model does."""
    options: tyro.conf.OmitArgPrefixes[ModelOptions] = dataclasses.field(default_factory=ModelOptions)

    def __call__(self, arguments: Sequence[str]) -> int:
        """Denoises and names the files."""
        from jaxdae import images, pretrained, runs

        targets = images.find(self.pictures, self.out)
        run = runs.load_run(self.run) if self.run else pretrained.load_pretrained()
        number = run.member(self.options.model)
        if self.add_noise is not None:
            check_level(self.add_noise, run.config.corruption)
        channels = [images.read(path).pixels.shape[-1] for path in targets]  # all are readable before any is written
        print(f"denoising with {run.describe(number, self.options.checkpoint)}")
        if run.channels == 1 and max(channels) > 1:
            print("the model knows grey images: colour pictures are denoised channel by channel")
        for index, path in enumerate(targets):
            picture = images.read(path)
            if picture.pixels.mean() > 0.5 and not self.invert:
                print(f"{path} is mostly bright, the model knows white on black: try --invert", file=sys.stderr)
            images.write(targets[path], picture, self._clean(run, number, picture.pixels, index))
            print(targets[path])
        return 0

    def _clean(self, run: "Run", number: int, pixels: Any, index: int) -> Any:
        import numpy as np

        from jaxdae import denoising, noise

        pixels = 1 - pixels if self.invert else pixels
        if self.add_noise is not None:
            key = noise.draw_key(run.config.evaluation_seed, noise.NOISE, noise.EVALUATION, index)
            pixels = noise.corrupt(key, pixels, self.add_noise, corruption=run.config.corruption)
        noisy = np.asarray(pixels)[None]
        clean = denoising.denoise(run, noisy, member=number, checkpoint=self.options.checkpoint)[0]
        return 1 - clean if self.invert else clean


COMMANDS: dict[str, Callable[..., Any]] = {"train": Train, "evaluate": Evaluate, "plot": Plot, "denoise": Denoise}


def main(argv: Sequence[str]) -> int:
    """Runs a command line (without the program's name) and returns its exit status."""
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(WELCOME)
            return 0
        if argv[0] == "--version":
            print(f"jaxdae {__version__}")
            return 0
        require_name("command", argv[0], COMMANDS)
        arguments = list(argv[1:])
        return tyro.cli(COMMANDS[argv[0]], args=arguments, prog=f"jaxdae {argv[0]}")(arguments)
    except SystemExit as stop:  # tyro has said what is wrong, or has helped
        return int(stop.code or 0)
    except InputError as error:
        return _fail(error)
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(error)
    except KeyboardInterrupt as stop:
        return _interrupted(stop)


def _fail(error: Exception) -> int:
    print(f"jaxdae: {error}", file=sys.stderr)
    return 2


def _interrupted(stop: KeyboardInterrupt) -> int:
    from jaxdae.runs import Interrupted

    if not isinstance(stop, Interrupted):
        return 130
    print(f"\nstopped; continue with: jaxdae train --resume {stop.path}", file=sys.stderr)
    return 128 + stop.signal_number


def cores_as_devices() -> None:
    """Makes every CPU core a device of its own: small matrix products do not spread over threads, devices do."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(cores))


def keep_compiled_programs() -> None:
    """Lets JAX keep what it compiles in a cache folder of the user's own, so that the next start is quick."""
    # One folder for each machine: a program for one processor may crash on another.
    folder = platformdirs.user_cache_path("jaxdae") / platform.node()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def console() -> None:
    """The entry point of the `jaxdae` script: the one place that makes process-wide settings."""
    arguments = sys.argv[1:]
    cores_as_devices()
    if arguments[:1] == ["--no-cache"]:
        arguments = arguments[1:]
    else:
        keep_compiled_programs()
    raise SystemExit(main(arguments))
