"""What envelopes and results say, and what a row says of its transaction."""

import base64
from random import Random
from typing import Any

import pytest
from stellar_sdk import (
    LedgerBounds,
    Network,
    TransactionBuilder,
)

from sweeper.stepfi import envelopes, transaction_rows
from sweeper.stepfi.envelopes import Envelope
from tests import recordings
from tests.unit.sweeper.settlement_cases import (
    MAX_TIME,
    PASSPHRASE,
    SPONSOR,
    built,
)


class TestEnvelope:
    @pytest.mark.parametrize("v1", [True, False], ids=["V1", "V0"])
    @pytest.mark.parametrize("max_time", [MAX_TIME, 0, None])
    def test_its_own_hash_and_the_end_of_its_time(self, v1: bool, max_time: int | None) -> None:
        envelope = built(max_time=max_time, v1=v1)
        read = envelopes.read(envelope.to_xdr(), passphrase=PASSPHRASE)
        assert read == Envelope(hash=envelope.hash_hex(), max_time=max_time or 0)

    def test_conditions_of_the_second_kind(self) -> None:
        envelope = built(ledger_bounds=True)
        conditions = envelope.transaction.preconditions
        assert conditions is not None
        assert conditions.ledger_bounds == LedgerBounds(1, 2)
        assert envelopes.read(envelope.to_xdr(), passphrase=PASSPHRASE) == Envelope(
            hash=envelope.hash_hex(), max_time=MAX_TIME
        )

    def test_a_fee_bump_has_its_own_hash_and_the_time_of_what_it_wraps(self) -> None:
        inner = built()
        outer = TransactionBuilder.build_fee_bump_transaction(SPONSOR.public_key, 1000, inner, PASSPHRASE)
        assert outer.hash_hex() != inner.hash_hex()
        assert envelopes.read(outer.to_xdr(), passphrase=PASSPHRASE) == Envelope(
            hash=outer.hash_hex(), inner_hash=inner.hash_hex(), max_time=MAX_TIME
        )

    def test_signatures_and_line_breaks_change_nothing_and_the_network_does(self) -> None:
        envelope = built()
        plain = envelopes.read(envelope.to_xdr(), passphrase=PASSPHRASE)
        envelope.sign(SPONSOR)
        text = envelope.to_xdr()
        assert envelopes.read(f" {text[:40]}\n{text[40:]}\n", passphrase=PASSPHRASE) == plain
        other = envelopes.read(text, passphrase=Network.PUBLIC_NETWORK_PASSPHRASE)
        assert plain is not None
        assert other is not None
        assert other.hash != plain.hash

    def test_recorded_envelopes_have_their_recorded_hashes(self) -> None:
        header, *lines = recordings.lines("story-real.jsonl.gz")
        told = {line["txHash"]: line["envelopeXdr"] for line in lines if "envelopeXdr" in line}
        assert len(told) > 100
        for tx_hash, xdr in told.items():
            read = envelopes.read(xdr, passphrase=header["networkPassphrase"])
            assert read is not None
            assert read.hash == tx_hash

    @pytest.mark.parametrize(
        "text",
        [
            None,
            "",
            " ",
            "AAAAAgAAAA-not-an-envelope",
            "é",
            "A",
            "AAAA",
            base64.b64encode(b"\x00\x00\x00\x02" + b"\xff" * 200).decode(),
            "A" * 300_000,
            built().to_xdr() + "AAAA",
        ],
    )
    def test_garbage_is_no_envelope(self, text: str | None) -> None:
        assert envelopes.read(text, passphrase=PASSPHRASE) is None

    def test_no_damage_raises(self) -> None:
        random = Random(7)  # noqa: S311 - damages bytes, guards nothing
        whole = base64.b64decode(built(ledger_bounds=True).to_xdr())
        refused = 0
        for _ in range(2000):
            damaged = bytearray(whole[: random.randrange(4, len(whole) + 1)])
            damaged[random.randrange(len(damaged))] = random.randrange(256)
            text = base64.b64encode(bytes(damaged)).decode()
            refused += envelopes.read(text, passphrase=PASSPHRASE) is None
            envelopes.failure(text)
        assert refused > 1000


class TestFailure:
    def test_the_codes_of_recorded_results(self) -> None:
        lines = [line for line in recordings.lines("story-real.jsonl.gz") if line["kind"] == "tx"]
        bumped = [line for line in lines if line["status"] == "FAILED" and line.get("feeBump")]
        plain = [line for line in lines if line["status"] == "FAILED" and not line.get("feeBump")]
        assert bumped
        for line in (bumped[0], plain[0]):
            assert envelopes.failure(line["resultXdr"]) == "txFAILED, INVOKE_HOST_FUNCTION_TRAPPED"
        good = next(line for line in lines if line["status"] == "SUCCESS" and not line.get("feeBump"))
        assert envelopes.failure(good["resultXdr"]) == "txSUCCESS"

    @pytest.mark.parametrize("text", [None, "", "no", "AAAA", "A" * 300_000])
    def test_what_cannot_be_read(self, text: str | None) -> None:
        assert envelopes.failure(text) is None


class TestReading:
    INNER = built()
    OUTER = TransactionBuilder.build_fee_bump_transaction(SPONSOR.public_key, 1000, INNER, PASSPHRASE)

    @pytest.mark.parametrize(
        ("stored", "envelope", "hashes", "of_envelope"),
        [
            (["cd" * 32], INNER, ["cd" * 32], [INNER.hash_hex()]),
            ([OUTER.hash_hex()], INNER, [OUTER.hash_hex()], [INNER.hash_hex()]),
            ([OUTER.hash_hex()], OUTER, [OUTER.hash_hex()], [INNER.hash_hex()]),
            ([INNER.hash_hex().upper()], OUTER, [INNER.hash_hex()], [OUTER.hash_hex()]),
            ([INNER.hash_hex(), OUTER.hash_hex()], OUTER, [INNER.hash_hex(), OUTER.hash_hex()], []),
            ([INNER.hash_hex()], INNER, [INNER.hash_hex()], []),
            ([], INNER, [INNER.hash_hex()], []),
            ([], OUTER, [OUTER.hash_hex()], [INNER.hash_hex()]),
            (["soon"], INNER, [], [INNER.hash_hex()]),
            (["cd" * 32], None, ["cd" * 32], []),
        ],
    )
    def test_what_is_stored_comes_first_and_what_the_envelope_goes_by_beside_it(
        self, stored: list[str], envelope: Any, hashes: list[str], of_envelope: list[str]
    ) -> None:
        columns = dict(zip(transaction_rows.HASH_COLUMNS, stored, strict=False))
        row = {"xdr": None if envelope is None else envelope.to_xdr(), "submitted_at": None, **columns}
        read = transaction_rows.reading(row, passphrase=PASSPHRASE)
        assert (list(read.hashes), list(read.of_envelope)) == (hashes, of_envelope)
        assert read.is_stored is bool(stored)
