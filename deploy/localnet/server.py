"""The HTTP side: one path, POST only, errors as the server gives them; and a side path that tells what was asked."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import orjson
from aiohttp import web

from deploy.localnet import chain, faults, jsonrpc, methods, rpcerrors

MAX_BODY_BYTES = 512 * 1024
REQUESTS_PATH = "/_localnet/requests"
_TYPE = "application/json"


class _TooLarge(Exception):
    """The body exceeds what the server reads."""


class Server:
    """Answers from the view of the moment, and counts requests by method name. `trim` drops all before a ledger."""

    def __init__(
        self, view: Callable[[], chain.View], *, trim: Callable[[int], None], fault: faults.Hook | None = None
    ) -> None:
        self._view = view
        self._trim = trim
        self.fault = fault
        self.requests: Counter[str] = Counter()

    def application(self) -> web.Application:
        application = web.Application(client_max_size=2 * MAX_BODY_BYTES)
        application.router.add_get(REQUESTS_PATH, self._tell_requests)
        application.router.add_route("*", "/{path:.*}", self._handle)
        return application

    async def _tell_requests(self, _request: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(self.requests), content_type=_TYPE)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        refused = _refused(request)
        if refused is not None:
            return refused
        try:
            message = jsonrpc.parse(await _body(request))
        except _TooLarge:
            return web.Response(status=500, text="http: request body too large\n")
        except jsonrpc.NotJson:
            return web.Response(status=500, text="[-32700] invalid request value\n")
        fault = self._fault(message)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.status is not None:
            waits = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return web.Response(status=fault.status, headers=waits)
        return await _sent(request, self._answer(message, fault), fault)

    def _fault(self, message: jsonrpc.Message) -> faults.Fault:
        """Counts the calls, and asks the hook about each; the first fault is the one of the whole request."""
        ordered: list[faults.Fault] = []
        for call in message.calls:
            if call.fault is None:
                self.requests[call.method] += 1
                fault = self.fault(call.method) if self.fault else None
                if fault is not None:
                    ordered.append(fault)
        return ordered[0] if ordered else faults.NONE

    def _answer(self, message: jsonrpc.Message, fault: faults.Fault) -> bytes:
        view = replace(self._view(), lenient=fault.lenient)
        if fault.lag and view.tip is not None:
            view = view.at(view.tip - fault.lag)
        if fault.trim and view.tip is not None:
            view = replace(view, rows_from=view.range().oldest + fault.trim)
            self._trim(view.rows_from)
        answers = [_answered(call, view, fault) for call in message.calls]
        return jsonrpc.render(message, [answer for answer in answers if answer])


def _refused(request: web.Request) -> web.Response | None:
    """What HTTP alone makes of a request that is none for us."""
    if request.path != "/":
        return web.Response(status=404, text="404 page not found\n")
    if request.method != "POST":
        return web.Response(status=405)
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != _TYPE:
        return web.Response(status=415, text="content-type must be application/json\n")
    return None


async def _body(request: web.Request) -> bytes:
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _TooLarge from None
    if len(body) > MAX_BODY_BYTES:
        raise _TooLarge
    return body


def _answered(call: jsonrpc.Call, view: chain.View, fault: faults.Fault) -> bytes:
    """The answer to one call; empty for a notification, which is carried out all the same."""
    refused = call.fault or (rpcerrors.MethodError(*fault.error) if fault.error else None)
    if refused is not None:
        return jsonrpc.failure(call.id or jsonrpc.NULL, refused)
    try:
        result = methods.call(call.method, call.params, view)
    except rpcerrors.MethodError as error:
        return jsonrpc.failure(call.id, error) if call.id is not None else b""
    return jsonrpc.success(call.id, fault.spoil(result)) if call.id is not None else b""


async def _sent(request: web.Request, body: bytes, fault: faults.Fault) -> web.StreamResponse:
    if fault.garbage:
        return web.Response(body=b"<html>bad gateway</html>", content_type=_TYPE)
    if fault.keep is None:
        return web.Response(body=body, content_type=_TYPE) if body else web.Response(status=204)
    response = web.StreamResponse(headers={"Content-Type": _TYPE, "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: fault.keep])
    if request.transport is not None:
        request.transport.close()
    return response
