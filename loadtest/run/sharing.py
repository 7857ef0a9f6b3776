"""A stored run in a form to hand on: a page of its own, a picture."""

from __future__ import annotations

from pathlib import Path

from loadtest.run.judge import find_folder, judge_stored


def share_page(folder: Path | None, page: Path) -> None:
    """
    Write the report of a stored run as one file without raw data and without links.

    Args:
        folder: Run folder; None takes the latest.
        page: HTML file to write.

    Raises:
        RecordsError: The run cannot be read, or the file not be written.
    """
    from loadtest.report.pages.share import render_shared
    from loadtest.report.pages.write import write_whole

    write_whole(page, render_shared(*judge_stored(find_folder(folder))))


def share_picture(folder: Path | None, image: Path) -> None:
    """
    Write the matrix of a stored run, under its verdict, as a PNG image.

    Args:
        folder: Run folder; None takes the latest.
        image: File to write.

    Raises:
        RecordsError: The run cannot be read, or the file not be written.
    """
    from loadtest.report.pages.share import render_picture
    from loadtest.report.pages.write import write_whole

    write_whole(image, render_picture(*judge_stored(find_folder(folder))))
