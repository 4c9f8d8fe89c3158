"""Reading a body of our own shape, with the field named that is wrong."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from router.call import parse
from router.errors import BadRequest

Body = TypeVar("Body", bound=BaseModel)


def read_body(shape: type[Body], raw: bytes) -> Body:
    """The body as this shape. Raises `BadRequest` with the first wrong field, such as `outcomes.3.reward`."""
    try:
        return shape.model_validate(parse(raw))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        param = ".".join(map(str, first["loc"])) or None
        raise BadRequest(f"{param}: {message}" if param else message, param=param) from None
