"""What the gateway writes to its log: text or one JSON object a line, without prompts, replies or secrets."""

from __future__ import annotations

import logging
import signal
import threading
import time
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import orjson

if TYPE_CHECKING:
    from types import FrameType

    from router.ended import Ended

logger = logging.getLogger(__name__)

TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"
TOO_TALKATIVE = (
    "httpx",
    "httpcore",
    "alembic",
    "watchfiles",
    "sentence_transformers",
)  # a line a request, a statement, a look
QUIET = ("/healthz", "/readyz", "/metrics")  # asked every few seconds by machines
GATHERED_S = 0.1  # that a line below WARNING may wait for others
GATHERED_LINES = 1000
FIELDS = "fields"  # where a record keeps what the JSON shows beside its message


def configure(kind: Literal["json", "text"]) -> None:
    """Log to stderr from now on; what was configured before is replaced."""
    handler = Gathered()
    handler.setFormatter(Json() if kind == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in TOO_TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def write_before_sigterm() -> None:
    """
    From now on SIGTERM ends the process after what the handlers keep is written. uvicorn sends it again once it has
    shut down, and no exit hook would run. Call it from the main thread.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        logging.shutdown()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, end)


class Gathered(logging.StreamHandler[Any]):
    """
    Writes lines of a tenth of a second together, from a thread; one of WARNING or above at once, with those before it.

    To write each by itself, in the event loop, is a sixth of what a call to a named model costs.
    """

    def __init__(self, stream: Any = None) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._waiting = threading.Event()
        self._thread: threading.Thread | None = None
        self._over = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep or write a line. logging calls this with the handler's lock held."""
        try:
            self._lines.append(self.format(record))
        except Exception:
            self.handleError(record)
            return
        if record.levelno >= logging.WARNING or len(self._lines) >= GATHERED_LINES:
            self.flush()
            return
        if self._thread is None:  # one for all lines: to start a thread waits for it to run
            self._thread = threading.Thread(target=self._flush_waiting, name="log", daemon=True)
            self._thread.start()  # at the end, logging itself flushes
        if len(self._lines) == 1:
            self._waiting.set()

    def flush(self) -> None:
        """Write what was kept."""
        with self.lock or threading.RLock():
            lines, self._lines = self._lines, []
            if not lines:
                return
            try:
                self.stream.write("\n".join(lines) + "\n")
                self.stream.flush()
            except (OSError, ValueError):  # nobody reads any more: not worth a traceback a second
                return

    def close(self) -> None:
        """Write what was kept, and end the thread."""
        self.flush()
        self._over = True
        self._waiting.set()
        super().close()

    def _flush_waiting(self) -> None:
        while self._waiting.wait() and not self._over:
            time.sleep(GATHERED_S)
            self._waiting.clear()
            self.flush()


class Json(logging.Formatter):
    """
    A record as one line: `time` (UTC), `level`, `logger`, `message`, and a request's fields.

    An exception is told by its class and place: its message may quote a prompt.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = place(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


def place(error: BaseException) -> str:
    """An exception's class and the way to it, innermost last; not its message."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    way = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {way}"


def tell(ended: Ended) -> None:
    """One line for a request that has ended."""
    level = logging.DEBUG if ended.endpoint in QUIET and ended.status < 400 else logging.INFO
    if not logger.isEnabledFor(level):
        return
    fields = fields_of(ended)
    shown = " ".join(f"{name}={value}" for name, value in fields.items())
    logger.log(level, "%s", shown, extra={FIELDS: fields})


def fields_of(ended: Ended) -> dict[str, Any]:
    """What a line says of a request; what is not known is left out."""
    routing = ended.routing
    fields: dict[str, Any] = {
        "request_id": ended.request_id,
        "endpoint": ended.endpoint,
        "status": ended.status,
        "error": ended.error,
        "ms": round(ended.ms, 2),
    }
    if routing is not None:
        fields |= {
            "decision_id": routing.decision_id,
            "asked": routing.asked,
            "model": routing.model,
            "reason": routing.reason,
            "beta": routing.beta,
            "stream": routing.stream,
            "input_tokens": routing.input_tokens,
            "output_tokens": routing.output_tokens,
            "cached_tokens": routing.cached_tokens,
            "cost_usd": routing.cost_usd,
            "decide_ms": round(routing.decide_ms, 2),
            "upstream_ms": round(routing.upstream_ms, 2),
            "overhead_ms": round(ended.overhead_ms, 2),
        }
    return {name: value for name, value in fields.items() if value is not None}
