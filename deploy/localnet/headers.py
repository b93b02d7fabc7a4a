"""The chain of ledger headers, derived from a recording.

A header holds the hash of the one before it, the hash of its transaction set and its close time. What a recording does not tell
(fee pool, buckets, results) stands at fixed values, those with which the recorded server ran. The chain begins with the recorded
hash of the ledger before the first, or, where that is not recorded, with the hash of its number.
"""

import hashlib
import struct
from typing import NamedTuple

from stellar_sdk import xdr

from deploy.localnet import history, synthetic, xdrtext

_REMEMBERED = 1024
_LEDGERS_OF_A_CHAIN = 65_536
_BASE_FEE = 100
_LIVE_STATE_BYTES = 1_234_567
_GENERALIZED_SET, _PHASES = struct.pack(">I", 1), struct.pack(">I", 2)
_NO_CLASSIC = struct.pack(">II", 0, 0)
_SOROBAN_PHASE = struct.pack(">IIq", 1, 1, _BASE_FEE)
_EMPTY_PHASES = _PHASES + _NO_CLASSIC + _SOROBAN_PHASE + struct.pack(">I", 0)
# After the close time: no upgrades, basic value; then results and buckets without a hash.
_AFTER_TIME = struct.pack(">II", 0, 0) + bytes(64)
# After the sequence: total coins, fee pool, inflation, id pool, base fee, base reserve, set size; skip list; no extension.
_AFTER_SEQUENCE = (
    struct.pack(">qqIQIII", 10**18, 3_145_728, 0, 0, _BASE_FEE, 5_000_000, 100) + bytes(128) + struct.pack(">I", 0)
)


class Ledger(NamedTuple):
    """A closed ledger: base64 XDR of its LedgerHeader, LedgerHeaderHistoryEntry and LedgerCloseMeta, and its hash in hex."""

    sequence: int
    hash: str
    header: str
    history_entry: str
    meta: str


class Chain:
    """Headers of one recording, from the first ledger that a node took in.

    The first request for a ledger hashes all before it, some microseconds each; every 1,024th is remembered. Where no hash is
    recorded to begin with, a chain of made-up hashes need not be long: it begins anew every 65,536 ledgers.
    """

    def __init__(self, recording: history.History, *, since: int) -> None:
        self._recording = recording
        self._protocol = struct.pack(">I", recording.protocol)
        self._since = since
        recorded = recording.header.get("previousLedgerHash") if since == recording.first_ledger else None
        self._recorded = bytes.fromhex(recorded) if recorded else None
        # By ledger: the hash of the one before it.
        self._previous: dict[int, bytes] = {}

    def ledger(self, sequence: int) -> Ledger:
        """One ledger, at or behind the first."""
        header, tx_set = self._header(sequence, self._previous_hash(sequence))
        digest = hashlib.sha256(header).digest()
        if not self._begins(sequence + 1):
            self._previous[sequence + 1] = digest
        entry = xdr.LedgerHeaderHistoryEntry(
            hash=xdr.Hash(digest),
            header=xdr.LedgerHeader.from_xdr_bytes(header),
            ext=xdr.LedgerHeaderHistoryEntryExt(0),
        )
        return Ledger(
            sequence=sequence,
            hash=digest.hex(),
            header=xdrtext.encode(entry.header),
            history_entry=xdrtext.encode(entry),
            meta=xdrtext.encode(self._meta(entry, tx_set, self._recording.transactions(sequence))),
        )

    def _begins(self, sequence: int) -> bool:
        """Whether a chain of hashes begins with this ledger."""
        return sequence == self._since or (self._recorded is None and sequence % _LEDGERS_OF_A_CHAIN == 0)

    def _previous_hash(self, sequence: int) -> bytes:
        """What the header of a ledger names as the hash of the one before it: hashed on from where one is known."""
        known = self._previous.get(sequence)
        if known is not None:
            return known
        at = sequence
        while not self._begins(at) and at not in self._previous:
            at = max(self._since, (at - 1) // _REMEMBERED * _REMEMBERED)
        digest = self._previous.get(at) or self._recorded or hashlib.sha256(struct.pack(">I", at - 1)).digest()
        while at < sequence:
            self._previous[at] = digest
            end = min(sequence, at // _REMEMBERED * _REMEMBERED + _REMEMBERED)
            digest, at = self._hash_on(at, end - 1, digest), end
        return digest

    def _hash_on(self, first: int, last: int, digest: bytes) -> bytes:
        """The hash of the last of some ledgers, given that of the one before them. Empty ledgers, nearly all, go a short way."""
        sha256, time, sequence = hashlib.sha256, struct.Struct(">Q").pack, struct.Struct(">I").pack
        closed_at, busy = self._recording.closed_at, self._recording.next_busy_ledger(first - 1)
        for number in range(first, last + 1):
            if number == busy:
                digest = sha256(self._header(number, digest)[0]).digest()
                busy = self._recording.next_busy_ledger(number)
            else:
                tx_set = sha256(_GENERALIZED_SET + digest + _EMPTY_PHASES).digest()
                after = _AFTER_TIME + sequence(number) + _AFTER_SEQUENCE
                digest = sha256(self._protocol + digest + tx_set + time(closed_at(number)) + after).digest()
        return digest

    def _header(self, sequence: int, previous: bytes) -> tuple[bytes, bytes]:
        """XDR of LedgerHeader and of GeneralizedTransactionSet."""
        tx_set = _GENERALIZED_SET + previous + self._phases(sequence)
        closed = struct.pack(">Q", self._recording.closed_at(sequence))
        set_hash = hashlib.sha256(tx_set).digest()
        numbered = _AFTER_TIME + struct.pack(">I", sequence) + _AFTER_SEQUENCE
        return self._protocol + previous + set_hash + closed + numbered, tx_set

    def _phases(self, sequence: int) -> bytes:
        """Other people's payments in the classic phase; the contracts' transactions in the Soroban phase, one after another."""
        transactions = self._recording.transactions(sequence)
        if not transactions:
            return _EMPTY_PHASES
        classic = [self._envelope(one) for one in transactions if one["kind"] == "other"]
        soroban = [self._envelope(one) for one in transactions if one["kind"] != "other"]
        phases = [_PHASES]
        phases.append(
            struct.pack(">IIIIqI", 0, 1, 0, 1, _BASE_FEE, len(classic)) + b"".join(classic) if classic else _NO_CLASSIC
        )
        phases.append(_SOROBAN_PHASE)
        phases.append(struct.pack(">III", 1, 1, len(soroban)) + b"".join(soroban) if soroban else struct.pack(">I", 0))
        return b"".join(phases)

    def _envelope(self, transaction: history.Transaction) -> bytes:
        return xdrtext.plain_bytes(self._parts(transaction).envelope)

    def _parts(self, transaction: history.Transaction) -> synthetic.Parts:
        return synthetic.parts(transaction, self._recording.header["networkPassphrase"])

    def _meta(
        self, entry: xdr.LedgerHeaderHistoryEntry, tx_set: bytes, transactions: list[history.Transaction]
    ) -> xdr.LedgerCloseMeta:
        return xdr.LedgerCloseMeta(
            2,
            v2=xdr.LedgerCloseMetaV2(
                ext=xdr.LedgerCloseMetaExt(0),
                ledger_header=entry,
                tx_set=xdr.GeneralizedTransactionSet.from_xdr_bytes(tx_set),
                tx_processing=[self._processed(transaction) for transaction in transactions],
                upgrades_processing=[],
                scp_info=[],
                total_byte_size_of_live_soroban_state=xdr.Uint64(_LIVE_STATE_BYTES),
                evicted_keys=[],
            ),
        )

    def _processed(self, transaction: history.Transaction) -> xdr.TransactionResultMetaV1:
        parts = self._parts(transaction)
        no_changes = xdr.LedgerEntryChanges([])
        return xdr.TransactionResultMetaV1(
            ext=xdr.ExtensionPoint(0),
            result=xdr.TransactionResultPair(
                transaction_hash=xdr.Hash(bytes.fromhex(transaction["txHash"])),
                result=xdr.TransactionResult.from_xdr(parts.result),
            ),
            fee_processing=no_changes,
            tx_apply_processing=xdr.TransactionMeta.from_xdr(parts.meta),
            post_tx_apply_fee_processing=no_changes,
        )
