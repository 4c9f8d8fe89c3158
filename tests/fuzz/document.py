"""
Schemathesis over the gateway's OpenAPI document: `python -m tests.fuzz.document`, or `make fuzz`, which installs it.

The gateway is the fuzz's, behind a socket; requests come from the document, right and wrong ones. No reply may be a
5xx, or another status, kind or shape than the document says; errors are the envelope's by that.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

from tests.fuzz.running import build, keys_of
from tests.router.serving import serving

PROGRAM = Path(__file__).parent / ".venv" / "bin" / "st"
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance", "unsupported_method", "ignored_auth"),
    "negative_data_rejection",
)
ADMINS = "^/v1/router/keys|^/metrics"


async def run(program: Path, examples: int, seed: int, folder: Path) -> int:
    """Both halves of the document, a caller's and an admin's. 0 where nothing is wrong."""
    app = build(folder)
    async with serving(app) as url:
        caller, boss = keys_of(app)
        ended = 0
        for key, pick in ((caller, "--exclude-path-regex"), (boss, "--include-path-regex")):
            process = await asyncio.create_subprocess_exec(
                str(program),
                "run",
                f"{url}/openapi.json",
                *("--checks", ",".join(CHECKS)),
                *(pick, ADMINS),
                *("--header", f"Authorization: Bearer {key}"),
                *("--max-examples", str(examples)),
                *("--seed", str(seed)),
                *("--suppress-health-check", "all"),
                *("--generation-database", "none"),
                *("--workers", "1"),
                "--continue-on-failure",
                cwd=folder,
            )
            ended |= await process.wait()
    return ended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", type=Path, default=PROGRAM)
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(given.program, given.examples, given.seed, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
