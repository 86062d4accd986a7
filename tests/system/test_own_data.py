"""An adopter's own data: from a folder of colour photos to an evaluated model by editing params alone."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from model import manifest
from tests.conftest import Project

COLOURS = {"apple": (200, 30, 40), "leaf": (40, 170, 60), "sky": (60, 110, 220)}


def write_photos(folder: Path) -> None:
    """Write JPEGs of different sizes, some turned by a camera: a coloured disc on a noisy ground."""
    generator = np.random.default_rng(5)
    for split, count in (("train", 60), ("test", 25)):
        for label, colour in COLOURS.items():
            (folder / split / label).mkdir(parents=True)
            for number in range(count):
                width, height = (int(side) for side in generator.integers(40, 160, 2))
                ground = generator.integers(90, 166, (height, width, 3), np.uint8)
                image = Image.fromarray(ground)
                middle = np.array([width, height]) * generator.uniform(0.35, 0.65, 2)
                radius = min(width, height) * generator.uniform(0.2, 0.4)
                shade = tuple(
                    int(value) for value in np.clip(np.array(colour) + generator.integers(-30, 31, 3), 0, 255)
                )
                ImageDraw.Draw(image).ellipse([*(middle - radius), *(middle + radius)], fill=shade)
                exif = Image.Exif()
                exif[0x0112] = int(generator.integers(1, 9))
                buffer = io.BytesIO()
                image.save(buffer, "JPEG", exif=exif)
                (folder / split / label / f"{number}.jpg").write_bytes(buffer.getvalue())


def test_from_a_folder_of_colour_photos_to_an_evaluated_int8_model(project: Project, tmp_path: Path) -> None:
    """The three commands of README, with a residual network on colour images of any size."""
    write_photos(tmp_path / "photos")
    output = project.run("make", "data", f"SOURCE={tmp_path}/photos", "REPLACE=yes")
    assert "photos: 255 images added" in output
    for old, new in (
        ("height: 28", "height: 24"),
        ("width: 28", "width: 32"),
        ("channels: 1", "channels: 3"),
        ("network: cnn", "network: resnet"),
        ("epochs: 30", "epochs: 6"),
        ("horizontal_flip: false", "horizontal_flip: true"),
    ):
        project.edit("params.yaml", old, new)
    output = project.run("make")
    assert "report:" in output
    metrics = json.loads((project.path / "artifacts" / "metrics.json").read_text())
    assert metrics["test"]["examples"] == 75
    assert metrics["quantized"]["accuracy"] > 0.9
    described = manifest.load(project.path / "artifacts")
    assert described.labels == sorted(COLOURS)
    assert described.input_shape == (24, 32, 3)
    assert described.scheme == "int8"
