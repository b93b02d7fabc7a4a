"""The error object of JSON-RPC, as an exception."""

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
EMPTY_STORE = "DB is empty"


class MethodError(Exception):
    """An answer that is an error: JSON-RPC code, message, and data (text or list) if there is any."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        self.code = code
        self.message = message
        self.data = data
        super().__init__(message)

    def as_json(self) -> dict[str, object]:
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error


def invalid_params(message: str) -> MethodError:
    return MethodError(INVALID_PARAMS, message)


def invalid_request(message: str) -> MethodError:
    return MethodError(INVALID_REQUEST, message)


def internal(message: str) -> MethodError:
    return MethodError(INTERNAL_ERROR, message)
