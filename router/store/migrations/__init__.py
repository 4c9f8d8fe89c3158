"""
The schema's history, packaged: `router.store.engine.open_store` upgrades a store without any alembic.ini.

To change the schema, edit `router/store/tables.py`, then write the revision that leads there:

    python -m router.store.migrations "add budgets"

It compares the tables with a fresh store at the newest revision and writes a file into `versions/`. Read
that file, then leave a dump of a small store of the new revision in `tests/router/store/schemas/`.
Revisions lead forward only: who wants to go back restores a copy.
"""
