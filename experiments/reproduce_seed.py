"""Does jaxdae reproduce the classic Keras experiment? MNIST, fixed Gaussian noise 0.5, Adadelta(1.0), batch 128.

    python experiments/reproduce_seed.py --epochs 20

trains (or continues) runs/seed and writes results/seed/. With `--ship` its parameters become the pretrained denoiser.
"""

# ruff: noqa: E402
from jaxdae.cli import cores_as_devices

cores_as_devices()  # before JAX is imported

import csv
import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import tyro
from _report import command_line, markdown_table, provenance, training_seconds
from _shell import run_script, train_or_resume

import jaxdae
from jaxdae import evaluation, figures, pretrained

REFERENCE = Path(__file__).parent / "reference" / "keras_seed_curve.json"


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the reproduction."""

    epochs: int = 100
    """Passes over the training images."""
    dataset: str = "mnist"
    """The dataset; the reference curve is that of mnist."""
    run: Path = Path("runs/seed")
    """The run folder; a run that is there is continued."""
    out: Path = Path("results/seed")
    """Where tables and figures go."""
    manual_dir: Path | None = None
    """Folder with files downloaded by hand, in <folder>/<dataset>/. By default $JAXDAE_MANUAL_DIR."""
    ship: bool = False
    """Make the result the pretrained denoiser of the package."""


def tolerance(epoch: int) -> float:
    """How far above Keras's validation BCE a run may lie: two seeds of Keras differ by up to 0.0052 and 0.0024."""
    return 0.008 if epoch < 5 else 0.003


def main(options: Options) -> None:
    """Trains, measures, draws and writes."""
    data = jaxdae.load(options.dataset, manual_dir=options.manual_dir)
    run = train_or_resume(jaxdae.preset("seed", dataset=options.dataset, epochs=options.epochs), data, options.run)

    scores, identity = evaluation.evaluate_population(run.params, data.test, np.array([0.5]), config=run.config)
    rows = evaluation.summarize(run.config, [0.5], scores, identity)
    reference = json.loads(REFERENCE.read_text())["curve"] if options.dataset == "mnist" else []
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in run.history))
    with (options.out / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    draw(run, data, reference, options.out)
    (options.out / "README.md").write_text(report(run, rows, reference, len(data.train), len(data.test)))
    if options.ship:
        pretrained.save_pretrained(run)
    print((options.out / "README.md").read_text())


def draw(run: jaxdae.Run, data: jaxdae.ImageData, reference: list[dict], out: Path) -> None:
    """The loss curve over the reference's, the seed's two figures, and the feature maps of every layer."""
    noisy = evaluation.noisy_examples(data.test[:10], 0.5, config=run.config)
    params = run.member_params(0)
    denoised, layers = evaluation.denoise_and_layers(params, noisy, model=run.model)
    noisy, denoised, layers = jax.device_get((noisy, denoised, layers))
    clean = data.test[:10].astype(np.float32) / 255
    drawn = {
        "loss": figures.loss_curves(
            run.history, reference=reference[: run.config.epochs], reference_name="Keras, level 0.5"
        ),
        "noisy": figures.noisy_digits(noisy),
        "denoised": figures.noisy_denoised_clean(noisy, denoised, clean),
    } | {f"features_{name}": figures.feature_maps(noisy[0], maps[0], layer=name) for name, maps in layers.items()}
    for name, figure in drawn.items():
        figure.savefig(out / f"{name}.png", dpi=80)


def report(run: jaxdae.Run, rows: list[dict], reference: list[dict], examples: int, test_images: int) -> str:
    """The README of the results."""
    epochs = run.config.epochs
    seconds = training_seconds(run, examples)
    names = ["noisy input (identity)", f"denoised, after {epochs} epochs"]
    table = markdown_table(
        ["", "BCE", "MSE", "PSNR (dB)", "SSIM"],
        [
            [name, f"{row['bce']:.4f}", f"{row['mse']:.5f}", f"{row['psnr']:.2f}", f"{row['ssim']:.3f}"]
            for name, row in zip(names, rows, strict=True)
        ],
    )
    compared = [e for e in (1, 2, 3, 5, 10, 15, 20, 30, 40, 50, 60, 80, 100) if e <= min(epochs, len(reference))]
    ours = {line["epoch"]: line for line in run.history}
    within = [ours[e]["val_bce"] <= reference[e - 1]["val_bce"] + tolerance(e) for e in compared]
    curve = markdown_table(
        ["epoch", "train BCE", "val BCE", "Keras train", "Keras val", "val - Keras val", "within tolerance"],
        [
            [
                str(e),
                f"{ours[e]['train_bce']:.4f}",
                f"{ours[e]['val_bce']:.4f}",
                f"{reference[e - 1]['train_bce']:.4f}",
                f"{reference[e - 1]['val_bce']:.4f}",
                f"{ours[e]['val_bce'] - reference[e - 1]['val_bce']:+.4f}",
                "yes" if ok else "no",
            ]
            for e, ok in zip(compared, within, strict=True)
        ],
    )
    answer = (
        f"{'Yes' if all(within) else 'No'}: at {sum(within)} of {len(within)} compared epochs the validation BCE is "
        f"within tolerance of Keras's.\nAfter {epochs} epochs it is {rows[1]['bce']:.4f}, and the PSNR rises from "
        f"{rows[0]['psnr']:.2f} dB (noisy) to {rows[1]['psnr']:.2f} dB (denoised)."
    )
    return f"""# The seed experiment

Does jaxdae reproduce the classic Keras script: {run.config.dataset.upper()}, Gaussian noise 0.5 drawn once for
every image and clipped to [0, 1], Adadelta(1.0, rho 0.95, eps 1e-7), binary cross-entropy, batch 128?

{answer}

## Test images

{table}

Means over {test_images:,} test images of per-image values; PSNR in dB for a peak of 1; SSIM with a 7x7 uniform
window; the BCE of the identity takes brightness no nearer to 0 and 1 than 1e-7. Rows: [table.csv](table.csv).

## Against Keras

{curve}

Keras 3.15 on TensorFlow, the same protocol, another random stream; validation on the noisy test images. Tolerance: at
most 0.008 above Keras before epoch 5, 0.003 from there on (two seeds of Keras differ by up to 0.0052 and 0.0024).
Every epoch: [metrics.jsonl](metrics.jsonl).

![loss curves](loss.png)

![noisy, denoised and clean digits](denoised.png)

What the layers make of one noisy digit: encoder_0, then the code (encoder_1), then decoder_0 and decoder_1.

![feature maps of encoder_0](features_encoder_0.png)

![feature maps of encoder_1](features_encoder_1.png)

![feature maps of decoder_0](features_decoder_0.png)

![feature maps of decoder_1](features_decoder_1.png)

The noisy digits alone: [noisy.png](noisy.png).

## How it was made

{provenance(command_line(), f"{seconds / 60:.0f} minutes of training", "0 (model), 0 (evaluation noise)")}
"""


if __name__ == "__main__":
    run_script(main, tyro.cli(Options, description=__doc__))
