"""Nothing in the product can ask a node to change the chain (I1)."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.rpc.methods import Method
from shared.rpc.transport import Transport

ROOT = Path(__file__).parents[3]
PRODUCT = ("shared", "streams", "sweeper", "migrations")
ALLOWED = {"getHealth", "getNetwork", "getVersionInfo", "getEvents", "getLedgerEntries", "getTransaction"}
WRITING = re.compile(r"(send|simulate|submit)_?transaction|\bfriendbot", re.IGNORECASE)
VERBS = {"post", "put", "patch", "request", "ws_connect"}
HTTP = ("aiohttp", "http.client", "urllib.request", "urllib3", "httpx", "requests", "websockets")


def sources(*rooms: str) -> list[Path]:
    paths = [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]
    assert paths
    return paths


def test_the_methods_are_those_and_no_other():
    assert {method.value for method in Method} == ALLOWED
    with pytest.raises(ValueError, match="sendTransaction"):
        Method("sendTransaction")


def test_no_writing_method_is_named_in_the_product():
    named = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in sources(*PRODUCT)
        for found in WRITING.finditer(path.read_text())
    ]
    assert named == []


def test_one_function_sends_and_it_takes_a_member_of_the_allowlist():
    tree = ast.parse((ROOT / "shared/rpc/transport.py").read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    senders = [function for function in functions if any(map(_sends, ast.walk(function)))]
    assert [function.name for function in senders] == ["post"]
    annotations = {each.arg: ast.unparse(each.annotation) for each in senders[0].args.args if each.annotation}
    assert annotations["method"] == "Method"


def _sends(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VERBS


def test_one_module_speaks_http_to_nodes_and_nobody_uses_a_client_of_the_sdk():
    speakers, clients = set(), []
    for path in sources(*PRODUCT):
        for module in _imported(ast.parse(path.read_text())):
            if module.startswith(HTTP):
                speakers.add(path.relative_to(ROOT).as_posix())
            if module.startswith("stellar_sdk") and re.search(r"client|server", module, re.IGNORECASE):
                clients.append((path.name, module))
    assert speakers == {"shared/rpc/transport.py", "sweeper/webhook.py"}
    assert clients == []


def test_the_webhook_knows_no_node_and_speaks_no_json_rpc():
    source = (ROOT / "sweeper/webhook.py").read_text()
    assert not [module for module in _imported(ast.parse(source)) if module.startswith("shared.rpc")]
    assert re.findall(r"\bjsonrpc\b|\brpc\b|settings\.(?!url|secret|drift_threshold|timeout_seconds)\w+", source) == []


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("name", ["sendTransaction", "getHealth"])
async def test_a_name_is_not_a_method(name):
    async with Transport(max_body_bytes=1) as transport:
        with pytest.raises(TypeError):
            await transport.post("http://127.0.0.1:9", name, {}, request_id=1, seconds=1)
