"""What an MCP server answers, as content."""

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import field

from prefetch_scheduler.engine.sources.mcp_library import mcp_types as types
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ResourceUnavailable
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.yaml_text import printable

_JSON = "application/json"
_SHOWN = 300


@frozen
class McpContent(Content):
    """Content with the resources that it points to, and how much they matter: `(uri, 0..1)`."""

    links: tuple[tuple[str, float | None], ...] = field(default=(), kw_only=True)


def resource_content(result: types.ReadResourceResult, max_age_s: float | None) -> Content:
    """Text or bytes; of a resource in several pieces, a JSON list of them.

    Raises:
        ResourceUnavailable: the answer holds nothing, or what it holds cannot be decoded.
    """
    pieces = result.contents
    if not pieces:
        raise ResourceUnavailable("the server answered with no content")
    if len(pieces) > 1:
        return Content(_as_json(pieces), media_type=_JSON, max_age_s=max_age_s)
    piece = pieces[0]
    if isinstance(piece, types.TextResourceContents):
        value: str | bytes = piece.text
    else:
        try:
            value = base64.b64decode(piece.blob, validate=True)
        except ValueError as error:
            raise ResourceUnavailable(f"the server's bytes are no base64: {error}") from error
    return Content(value, media_type=piece.mime_type, max_age_s=max_age_s)


def tool_content(result: types.CallToolResult, max_age_s: float | None) -> Content:
    """A tool's text; of a result that holds more than text and links, a JSON list of its pieces.

    Raises:
        ResourceUnavailable: the tool says that it failed.
    """
    pieces = result.content
    texts = [piece.text for piece in pieces if isinstance(piece, types.TextContent)]
    if result.is_error:
        said = printable(" ".join(texts)[:_SHOWN]) or "without saying why"
        raise ResourceUnavailable(f"the tool failed: {said}")
    links = tuple(
        (piece.uri, piece.annotations.priority if piece.annotations else None)
        for piece in pieces
        if isinstance(piece, types.ResourceLink)
    )
    media_type: str | None = "text/plain"
    if len(texts) + len(links) < len(pieces):
        value, media_type = _as_json(pieces), _JSON
    elif texts or result.structured_content is None:
        value = "\n".join([*texts, *(uri for uri, _ in links)])
    else:
        value, media_type = json.dumps(result.structured_content, ensure_ascii=False), _JSON
    return McpContent(value, media_type=media_type, max_age_s=max_age_s, links=links)


def _as_json(pieces: Iterable[Any]) -> str:
    plain: Sequence[Any] = [
        piece.model_dump(mode="json", by_alias=True, exclude_none=True) for piece in pieces
    ]
    return json.dumps(plain, ensure_ascii=False)
