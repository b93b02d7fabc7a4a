"""The localnet as others use it: through stellar-sdk's own client, and as a process of its own."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from deploy import localnet
from tests.recordings import HISTORIES, VECTORS, lines

CLIENT = Path(__file__).with_name("localnet_sdk_client.py")
Answer = dict[str, Any]
ROOT = Path(__file__).parents[2]


async def run(*arguments: str) -> Answer:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return cast(Answer, json.loads(out))


@pytest.mark.parametrize("name", HISTORIES)
async def test_the_sdk_client_reads_every_answer(name):
    header, *transactions = lines(name)
    calls = [line for line in transactions if line.get("contractId")]
    succeeded = [line for line in calls if line["status"] == "SUCCESS"][-1]
    failed = [line for line in calls if line["status"] == "FAILED"][-1]
    contract = header["contracts"]["creditline"]
    last_write = {entry["key"]: entry for line in transactions for entry in line.get("entries", ())}
    key = next(entry["key"] for entry in succeeded["entries"])
    async with localnet.serve(history=VECTORS / name, retention=None) as net:
        hashes = json.dumps([succeeded["txHash"], failed["txHash"], "ab" * 32])
        told = await run(str(CLIENT), net.url, contract, key, hashes)

        assert (told["status"], told["passphrase"]) == ("healthy", header["networkPassphrase"])
        assert told["latest"] == net.latest_ledger
        assert told["version"].startswith("28.")
        assert told["events"] == [
            event["id"]
            for line in transactions
            for event in line.get("events", ())
            if (event["contractId"], event["type"]) == (contract, "contract") and event["ledger"] >= told["start"]
        ]
        assert told["events"]
        assert told["entries"] == [last_write[key]["xdr"]]
        assert told["transactions"] == [
            ["SUCCESS", succeeded["ledger"]],
            ["FAILED", failed["ledger"]],
            ["NOT_FOUND", 0],
        ]
        assert told["functions"] == [succeeded["function"], failed["function"], None]
        assert told["listed"] > 0
        assert told["ledgers"] == [net.latest_ledger - 1, net.latest_ledger]
        assert set(net.requests) == {
            "getHealth", "getNetwork", "getVersionInfo", "getLatestLedger", "getEvents",
            "getLedgerEntries", "getTransaction", "getTransactions", "getLedgers",
        }  # fmt: skip


async def health(url: str) -> Answer:
    body = {"jsonrpc": "2.0", "id": 1, "method": "getHealth"}
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return cast(Answer, (await response.json())["result"])


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_it_runs_alone_until_it_is_stopped(stop):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.localnet", "--tip", "3400010", "--retention", "5",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
        answer = await health(url)
        assert (answer["oldestLedger"], answer["latestLedger"]) == (3_400_006, 3_400_010)
        process.send_signal(stop)
        _out, err = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, err) == (0, b"")


async def test_a_file_that_is_no_history_is_told_in_a_line():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.localnet", "--history", "README.md",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=VECTORS,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out) == (1, b"")
    assert b"README.md is not a recorded history" in err
    assert b"Traceback" not in err
