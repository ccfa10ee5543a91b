"""Object storage behind a presigned URL, as StemSplit and fal have it.

It refuses a second authorization, another content type than was announced, an unknown length, and content
above StemSplit's size limit.
"""

from typing import TYPE_CHECKING

from starlette.requests import Request

from contracts.model import Reply, refuse

if TYPE_CHECKING:
    from contract_server import ContractServer

PATH = "/storage/{key:path}"
MAX_BYTES, UPLOAD_S = 50 * 1024 * 1024, 900


def presigned(server: "ContractServer", key: str, content_type: str) -> str:
    """Return the URL for one upload."""
    server.expected_uploads[key] = content_type
    return f"{server.root}/storage/{key}?X-Amz-Expires={UPLOAD_S}&X-Amz-Signature=abcdef"


async def put(server: "ContractServer", request: Request) -> Reply:
    key = request.path_params["key"]
    content = await request.body()
    if "authorization" in request.headers:
        refuse(400, {"Code": "InvalidArgument", "Message": "Only one auth mechanism allowed"})
    if key not in server.expected_uploads or "X-Amz-Signature" not in request.query_params:
        refuse(403, {"Code": "SignatureDoesNotMatch"})
    if request.headers.get("content-type") != server.expected_uploads[key]:
        refuse(403, {"Code": "SignatureDoesNotMatch", "Message": "content-type"})
    if "content-length" not in request.headers:
        refuse(411, {"Code": "MissingContentLength"})
    if len(content) > MAX_BYTES:
        refuse(400, {"Code": "EntityTooLarge"})
    server.uploads[key] = content
    return Reply(200, None)


async def get(server: "ContractServer", request: Request) -> Reply:
    content = server.uploads.get(request.path_params["key"])
    return Reply(200, content) if content else Reply(404, None)
