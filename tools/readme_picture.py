"""Draw the picture of the README from the demonstration: ``python tools/readme_picture.py``."""

from __future__ import annotations

from pathlib import Path

from aicsched.config import Settings
from aicsched.demo import run_demo
from aicsched.files import write_text
from aicsched.report.figures import placement_map

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent.parent / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "placement.svg", placement_map(run_demo(Settings()).data))
