"""Drift of the tables beside loans and transactions: vendors, reputation, liquidity positions."""

from decimal import Decimal

from deploy.demo.app.rows import Row, row_id, tier
from deploy.demo.app.scene import Expected, Scene

Findings = list[Expected]


def vendor_status_stale(scene: Scene) -> Findings:
    """The registry changed the vendor's status by a call that the application did not make."""
    row, vendor = scene.row("vendors")
    scene.update("vendors", vendor, status="pending" if row["status"] != "pending" else "approved")
    return [scene.finding("stale_status", "vendors", vendor, f"vendor:{row['wallet_address']}")]


def reputation_stale(scene: Scene) -> Findings:
    """The score before a change that moved its user to another tier, and that score's tier."""
    held = {str(row["wallet_address"]): (row, cached) for cached, row in scene.true["reputation_cache"].items()}
    candidates = []
    for change in scene.truth.score_changes:
        row, cached = held.get(change.wallet, (None, ""))
        if row is not None and tier(change.old, scene.low_tier) != row["tier"]:
            candidates.append(((change.wallet, change.old), cached))
    (wallet, score), cached = scene.take("reputation_cache", candidates)
    scene.update("reputation_cache", cached, score=score, tier=tier(score, scene.low_tier))
    return [scene.finding("stale_value", "reputation_cache", cached, f"user:{wallet}")]


def reputation_tier_stale(scene: Scene) -> Findings:
    """The score was brought up to date without its tier."""
    row, cached = scene.row("reputation_cache")
    scene.update("reputation_cache", cached, tier="gold" if row["tier"] != "gold" else "silver")
    return [scene.finding("stale_value", "reputation_cache", cached, f"user:{row['wallet_address']}")]


def reputation_missing(scene: Scene) -> Findings:
    """A user of whom the chain has a score, without a row in the cache."""
    row, cached = scene.row("reputation_cache")
    scene.delete("reputation_cache", cached)
    return [scene.finding("missing_row", "reputation_cache", None, f"user:{row['wallet_address']}")]


def history_missing(scene: Scene) -> Findings:
    """A change of a score that the application never saw."""
    row, change = scene.row("reputation_history")
    scene.delete("reputation_history", change)
    return [scene.finding("missing_row", "reputation_history", None, f"event:{row['event_id']}")]


def position_stale(scene: Scene) -> Findings:
    """The position is the first deposit's: nothing was written since."""
    row, position = scene.row("liquidity_positions")
    wallet = str(row["provider_wallet"])
    first = scene.amount(scene.truth.providers[wallet].movements[0].amount)
    other = first if first != row["deposited_amount"] else first + Decimal(1)
    scene.update("liquidity_positions", position, deposited_amount=other)
    return [scene.finding("stale_value", "liquidity_positions", position, f"provider:{wallet}")]


def position_twice(scene: Scene) -> Findings:
    """Two rows of one provider: nothing in the table forbids it, and the application then reads none."""
    row, position = scene.row("liquidity_positions")
    wallet = str(row["provider_wallet"])
    second: Row = {**row, "id": row_id("liquidity_positions", f"{wallet} again")}
    scene.insert("liquidity_positions", second)
    return [
        scene.finding("duplicate_row", "liquidity_positions", found, f"provider:{wallet}", compare=False)
        for found in sorted((position, str(second["id"])))
    ]
