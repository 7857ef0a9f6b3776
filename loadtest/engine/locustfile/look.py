"""
Tells what is in a locustfile: ``python -m loadtest.engine.locustfile.look``, before any load.

Reads the command from standard input and writes facts, with the command as Locust's own settings
complete it, or an error to standard output, as JSON.  Importing Locust patches sockets, so the
command line has this done elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from loadtest.engine.client.refusals import refused_calls
from loadtest.engine.locustfile.configuration import with_configuration
from loadtest.engine.locustfile.importing import modules_beside
from loadtest.engine.locustfile.load import Locustfile, load_locustfile
from loadtest.engine.locustfile.notes import notes_of
from loadtest.engine.locustfile.shape import steps_of
from loadtest.engine.locustfile.telling import tell
from loadtest.errors import EngineError
from loadtest.frozen import read, to_json
from loadtest.plan.locustfile import LocustCommand, LocustfileFacts


def facts_of(loaded: Locustfile) -> LocustfileFacts:
    """
    Return what a locustfile says of itself.

    Raises:
        LoadtestError: Its load shape cannot be asked, or there is more than one.
    """
    if len(loaded.shapes) > 1:
        names = ", ".join(shape.__name__ for shape in loaded.shapes)
        raise EngineError(
            f"{loaded.path}: more than one load shape ({names}); mark all but one as abstract"
        )
    steps, ends_s = steps_of(loaded.shapes[0]()) if loaded.shapes else ((), 0.0)
    modules = modules_beside(loaded.path)
    refused = [
        why
        for path in (loaded.path, *modules)
        for why in refused_calls(path, insecure=True, of_locust=True)
    ]
    if refused:
        raise EngineError("\n".join(refused))
    notes = [note for path in (loaded.path, *modules) for note in notes_of(path)]
    notes += [
        f"{loaded.path}: the tags leave {name} no task; it is left out" for name in loaded.idle
    ]
    return LocustfileFacts(
        tuple(cls.__name__ for cls in loaded.classes),
        tuple(str(cls.host or "") for cls in loaded.classes),
        steps,
        ends_s,
        tuple(notes),
        tuple(str(path) for path in modules),
    )


def look(_path: str, settings: Mapping[str, object]) -> dict[str, object]:
    """
    Return the facts of a locustfile, and the command as Locust's own settings complete it.

    Raises:
        LoadtestError: It cannot be played.
    """
    command, notes = with_configuration(read(LocustCommand, settings, "settings"))
    facts = facts_of(load_locustfile(command.path, command.settings(), ""))
    facts = replace(facts, notes=(*facts.notes, *notes))
    return {"facts": facts.to_json(), "command": to_json(command)}


if __name__ == "__main__":
    tell(look)
