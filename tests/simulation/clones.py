"""Several deployments of StepFi out of one recording: the same traffic under other contract ids, each a scope of its own."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from shared import frames, position, strkey
from shared.stepfi.settings import Stepfi
from streams.stepfi.application import StepfiStream

EVENTS_OF_A_PAGE = 8
ENTRIES_OF_AN_OBSERVATION = 30
_ORDERS = 16
"""Transactions keep their order, and those of two clones never share a place in a ledger."""


@dataclass
class Clone:
    """The recording (its lines, header first) as deployment `number`, written to the partition of that number."""

    lines: Sequence[dict[str, Any]]
    number: int
    _ids: dict[bytes, bytes] = field(init=False)

    def __post_init__(self) -> None:
        held = [strkey.decode_contract(contract) for contract in self.header["contracts"].values()]
        self._ids = {one: hashlib.sha256(one + bytes([self.number])).digest() for one in held}

    @property
    def header(self) -> dict[str, Any]:
        return self.lines[0]

    @property
    def network(self) -> str:
        return str(self.header["networkPassphrase"])

    @property
    def scope(self) -> str:
        return f"stepfi-{self.number}"

    @property
    def application(self) -> StepfiStream:
        contracts = {name: self._contract(contract) for name, contract in self.header["contracts"].items()}
        settings = Stepfi(
            creditline=contracts["creditline"],
            liquidity_pool=contracts["pool"],
            reputation=contracts["reputation"],
            vendor_registry=contracts["vendors"],
            parameters=contracts["parameters"],
        )
        return StepfiStream(settings, scope=self.scope)

    def log(self, chance: Random) -> Iterator[frames.Frame]:
        """Its frames: pages of any length, some of them lost and filled at the end, some written twice; observations between."""
        contracts = self.application.contracts
        network, scope = self.network, self.scope
        after = position.end_of(self.header["startLedger"] - 1)
        yield frames.Origin(network=network, scope=scope, contracts=contracts, through=after)
        filled: list[frames.Page] = []
        events = [event for event in self._events() if event.contract in contracts]
        while events:
            size = chance.randint(1, EVENTS_OF_A_PAGE)
            page = self._page(after, tuple(events[:size]))
            events = events[size:]
            after = page.through
            match chance.choice(["whole"] * 7 + ["lost", "twice", "observed"]):
                case "lost":
                    reason = "the simulation lost it"
                    yield frames.Gap(
                        network=network, scope=scope, after=page.after, through=page.through, reason=reason
                    )
                    filled.append(replace(page, kind="fill"))
                case "twice":
                    yield from (page, page)
                case "observed":
                    yield page
                    yield from frames.cut_entries(self._observation(chance, position.ledger_of(after)))
                case _:
                    yield page
        chance.shuffle(filled)
        yield from filled

    def _page(self, after: str, piece: tuple[frames.Event, ...]) -> frames.Page:
        return frames.Page(
            network=self.network,
            scope=self.scope,
            kind="live",
            after=after,
            through=piece[-1].id,
            events=piece,
            contracts=self.application.contracts,
        )

    def _events(self) -> Iterator[frames.Event]:
        for line in self.lines[1:]:
            for wire in line.get("events", ()):
                event = frames.event_from_wire(wire)
                yield event._replace(
                    id=self._id(event.id),
                    contract=self._contract(event.contract),
                    tx_hash=hashlib.sha256(bytes.fromhex(event.tx_hash) + bytes([self.number])).hexdigest(),
                    topics=tuple(map(self._xdr, event.topics)),
                    value=self._xdr(event.value),
                )

    def _observation(self, chance: Random, ledger: int) -> frames.Observation:
        """Some of the contracts' entries as they stood at the end of the ledger."""
        newest = {
            entry["key"]: frames.entry_from_wire({"liveUntilLedgerSeq": None} | entry)
            for line in self.lines[1:]
            if line["ledger"] <= ledger
            for entry in line.get("entries", ())
            if self._xdr(entry["key"]) != entry["key"]  # accounts belong to no scope
        }
        chosen = chance.sample(sorted(newest), min(ENTRIES_OF_AN_OBSERVATION, len(newest)))
        entries = tuple(
            replace(newest[key], key=self._xdr(key), xdr=self._xdr(newest[key].xdr or "")) for key in chosen
        )
        return frames.Observation(network=self.network, scope=self.scope, latest_ledger=ledger, entries=entries)

    def _contract(self, contract: str) -> str:
        held = strkey.decode_contract(contract)
        return strkey.encode_contract(self._ids.get(held, held))

    def _xdr(self, text: str) -> str:
        data = base64.b64decode(text)
        for held, other in self._ids.items():
            data = data.replace(held, other)
        return base64.b64encode(data).decode()

    def _id(self, place: str) -> str:
        toid, index = place.split("-")
        ledger, order, operation = int(toid) >> 32, int(toid) >> 12 & 0xFFFFF, int(toid) & 0xFFF
        return f"{ledger << 32 | (order * _ORDERS + self.number) << 12 | operation:019d}-{index}"
