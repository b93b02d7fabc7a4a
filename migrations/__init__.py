"""Chaintrue's own database, brought to the tables of this version by Alembic: schemas `chain` and `recon`."""

from migrations.runner import check, upgrade

__all__ = ["check", "upgrade"]
