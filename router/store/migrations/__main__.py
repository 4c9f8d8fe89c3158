"""Write a new revision: `python -m router.store.migrations "what changes"`, in a source checkout."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from alembic.config import Config

from router.store.engine import MIGRATIONS, open_store


def main(message: str) -> None:
    """Compare the tables with a fresh store at the newest revision; write the difference as a revision."""
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    number = len(list((Path(__file__).parent / "versions").glob("v*.py"))) + 1
    with TemporaryDirectory() as folder:
        engine = open_store(f"sqlite:///{folder}/empty.db")
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.revision(config, message, autogenerate=True, rev_id=f"{number:04d}")
        engine.dispose()


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "change the schema")
