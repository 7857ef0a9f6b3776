"""
``python -m loadtest.refapp`` serves the app.

``seed`` fills the database, ``work`` does jobs, ``mirror`` carries a cache's writes to the others.
"""

from __future__ import annotations

import gc
import logging
import os
import sys

from loadtest.refapp.settings import Settings, SettingsError

_logger = logging.getLogger("loadtest.refapp")


def main(arguments: list[str]) -> int:
    """
    Run the command.

    Args:
        arguments: Nothing, ``seed``, ``work`` or ``mirror``.

    Returns:
        The exit code: 0, or 2 for a wrong call or environment, or 1 when the database refuses.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _logger.setLevel(logging.INFO)
    try:
        if arguments == ["mirror"]:
            return _mirror()
        settings = Settings.from_environ(os.environ)
    except SettingsError as error:
        _logger.error("%s", error)
        return 2
    if arguments == ["seed"]:
        return _seed(settings)
    if arguments == ["work"]:
        return _work(settings)
    if arguments:
        _logger.error(
            "unknown command %r: expected nothing, seed, work or mirror", " ".join(arguments)
        )
        return 2
    _serve(settings)
    return 0


def _seed(settings: Settings) -> int:
    """Fill the primary database."""
    if settings.lite is not None:
        _logger.info("nothing to seed: the primary fills its own file")
        return 0
    import psycopg

    from loadtest.refapp.seed import seed

    try:
        added = seed(settings.primary_url)
    except psycopg.Error as error:
        _logger.error("the database cannot be seeded: %s", str(error).strip())
        return 1
    _logger.info("seeded: %d new cities, %d new recipes", added.cities, added.recipes)
    return 0


def _work(settings: Settings) -> int:
    """Do jobs until a signal says otherwise."""
    from loadtest.refapp.jobs import work

    if not settings.queue_url or not settings.primary_url:
        missing = "DATABASE_URL" if settings.queue_url else "QUEUE_URL"
        _logger.error("%s is not set, and a worker needs it", missing)
        return 2
    return work(settings)


def _mirror() -> int:
    """Carry a cache's writes to the others until a signal says otherwise."""
    from loadtest.refapp.mirror.mirror import MirrorSettings, mirror

    return mirror(MirrorSettings.from_environ(os.environ))


def _serve(settings: Settings) -> None:
    """Serve until a signal says otherwise."""
    from uvicorn.config import Config
    from uvicorn.server import Server

    from loadtest.refapp.web import create_app

    config = Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        loop="asyncio",
        http="httptools",
        ws="wsproto",
        ws_max_size=65_536,
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # Longer than any proxy keeps an idle connection: otherwise a request could meet a
        # connection that is just being closed.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=3,
    )
    config.load()
    # What was imported stays for good; the collector need not look at it during requests.
    gc.collect()
    gc.freeze()
    _logger.info("serving in %s on %s:%d", settings.region, settings.host, settings.port)
    Server(config).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
