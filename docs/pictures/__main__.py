"""Draw the pictures of the documentation into this folder: `python -m docs.pictures`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from docs.pictures import terminal
from docs.pictures.diagrams import DIAGRAMS
from docs.pictures.ink import INKS

FOLDER = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        output = terminal.output(Path(folder))
    for scheme, ink in INKS.items():
        (FOLDER / f"approval-{scheme}.svg").write_text(terminal.picture(output, ink), "utf-8")
        for name, draw in DIAGRAMS.items():
            (FOLDER / f"{name}-{scheme}.svg").write_text(draw(ink), "utf-8")


if __name__ == "__main__":
    main()
